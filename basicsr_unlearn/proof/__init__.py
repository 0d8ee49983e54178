"""What is true of an unlearned network: each number and each verdict defined once. Plain Python, no BasicSR."""
