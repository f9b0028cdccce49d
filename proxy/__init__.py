"""The gateway: processes, the wire, exchanges, routing, stored state, keys, telemetry, the inspector, the command line."""
