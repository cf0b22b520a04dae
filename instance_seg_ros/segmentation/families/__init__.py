"""Exported models of other projects: how each family is recognised, fed and read. One module a family.

`registry` names the families and recognises them, `description` puts a file and what is said of it together.
"""
