"""Campaigns: tests that look for trouble for as long as they are given time."""
