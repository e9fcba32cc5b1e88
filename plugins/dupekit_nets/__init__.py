"""What the bundled plugins share: networks by name, and onnxruntime, which runs them. No plugin itself.

onnxruntime from 1.29 on tells its maker of its use, and keeps an identifier in the user's cache folder, from the moment
that it is imported. So this stands before every import of it; who wants it otherwise sets the variable to 0.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
