"""The service on more than one process or machine: Ray Serve replicas, and containers behind a proxy."""
