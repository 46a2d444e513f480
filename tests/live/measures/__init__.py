"""The seven measurements of docs/aws.md: what asks is handed in, what judges is pure.

Each module has `measure(world) -> list[Finding]`.
"""
