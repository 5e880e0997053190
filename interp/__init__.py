"""Train small networks with checkpoints throughout, and measure when and how they come to understand."""
