"""What several subcommands share; each file here serves the commands, none is one."""
