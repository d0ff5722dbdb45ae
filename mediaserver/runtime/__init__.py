"""The asyncio side of sans-IO code: clocks, owned tasks, the driver, logs, metrics and the service manager."""
