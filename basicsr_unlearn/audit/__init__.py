"""Proof of what was forgotten, what was kept and what still sleeps in the weights: statistics and measurements.

Plain torch and numpy code, free of BasicSR. A measurement leaves networks as they were, gives equal numbers for equal
seeds and keeps the value of each image; images are given as pairs of degraded and clean image (see `scores`).
"""
