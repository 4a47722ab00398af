"""What a GAN and every model that has one inside share: the settings (no torch) and the costs."""
