"""From the figures of a results folder to a page, plots and verdicts."""
