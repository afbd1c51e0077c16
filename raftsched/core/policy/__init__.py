"""What becomes of nominal times, executions and attempts: decisions as pure functions."""
