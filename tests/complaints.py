"""What a script under `-X dev` complains of."""


def complaints(stderr: str) -> str:
    """Leave out what took long, which only says that this machine is busy."""
    lines = stderr.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("Executing <"))
