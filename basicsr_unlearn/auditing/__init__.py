"""The command `basicsr-unlearn audit`: from an option file to audit.json (see SCHEMA.md), audit.md and report.html.

The statistics themselves are in `basicsr_unlearn.audit`; here they meet checkpoints, data sets and the disk.
"""
