"""What every other package may use: errors, files, settings, progress, identity, the numerical runtime."""
