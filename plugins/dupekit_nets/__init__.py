"""What the bundled plugins share: opening ONNX models, feeding them, torchvision's networks by name. No plugin itself."""
