"""The peers of `gail bench throughput`: their pinned environments, and the scripts that run inside them."""
