"""What a running node does: one module a verb, put together in `bridge.nodes.app`."""
