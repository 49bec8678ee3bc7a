"""Runs a file of SQL whose statements are separated by lines that hold `//` and nothing else."""

from pathlib import Path

from legacy_bridge.sessions import Session


def run(session: Session, path: Path) -> None:
    run_text(session, path.read_text())


def run_text(session: Session, text: str) -> None:
    for statement in text.split("\n//\n"):
        if statement.strip():
            session.query(statement)
