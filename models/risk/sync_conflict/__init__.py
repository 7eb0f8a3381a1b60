"""Will two people's concurrent edits conflict?"""
