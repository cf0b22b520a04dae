"""The subcommands of `instance-seg`, one module each; `main` imports only the one that is asked for."""
