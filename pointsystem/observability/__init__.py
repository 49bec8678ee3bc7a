"""What operators see: JSON log lines with a request id, and Prometheus metrics."""
