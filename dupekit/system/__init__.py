"""The machine: devices, mounts, parallel work, progress, who is at work and when."""
