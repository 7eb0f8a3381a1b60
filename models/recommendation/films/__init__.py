"""Which films will this person like next?"""
