"""SIP: values and wire, transactions and dialogs as sans-IO tables, and one asyncio user agent on top."""
