"""The gate: what one visitor may ask of the server, checked before Streamlit sees it.

Streamlit answers whoever asks, as often as they ask. Here stand the limits: which hosts and origins are
answered, which addresses are open, how many connections one address may hold, how often one of them may ask
for a run of a page, and how much it may upload. `Gate` is an ASGI application around Streamlit's.
"""
