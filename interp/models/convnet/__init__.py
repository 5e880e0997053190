"""Convolutional networks on images."""
