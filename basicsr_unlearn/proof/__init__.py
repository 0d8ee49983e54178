"""What is true: one definition of each number, attackers, statistics, verdicts, the benchmark."""
