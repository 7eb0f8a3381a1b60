"""Is a text toxic, and in which way?"""
