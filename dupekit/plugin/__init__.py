"""The plugin contract, and finding the plugins that are installed."""
