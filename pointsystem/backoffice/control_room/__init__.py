"""The control room: the whole cutover on one page, and the acts that change it (docs/concepts/stages.md).

It reads what `cutover` says, and acts through `cutover.switching`; nothing of the cutover is decided here.
"""
