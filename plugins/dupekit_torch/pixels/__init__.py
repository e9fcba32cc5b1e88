"""Which pixels a network is shown, and how they reach the device."""
