"""Records to token sequences, each with a bool that says whether it is trained.

Tokenizer, chat templates and the spans of a rendered conversation.
"""
