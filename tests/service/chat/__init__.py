"""Tests of replies: text to token ids and back, and what may be said."""
