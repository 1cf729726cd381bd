"""What `main.py` offers: one file a subcommand, and what they share.

Reading order: `session` (lines through the engine), `ndjson` (lines to commands and back), `run`,
`stdio`; `directory` (a data directory to look at), `status`, `verify`, `replay`, `audit`,
`snapshot`; `tour`; `cluster` (several machines), `cluster_client` (using them). Below them:
`files`, `signals`, `output`, `exits`, `options`, `cluster_options`. A subcommand is a function,
registered with its parser by the `add` of its file. Nothing here is imported by anything but
`main.py`.
"""
