"""Search by a photo, then by the same photo plus a word that says what to change.

python examples/photo_and_words.py photo.jpg white localhost:8001
"""

import sys

from shopwindow_client import RetrievalClient

photo, word = sys.argv[1:3]
url = sys.argv[3] if len(sys.argv) > 3 else "localhost:8001"

with RetrievalClient(url, timeout_s=5.0) as client:
    [alike] = client.retrieve_similar(image=photo, top_k=5)
    [changed] = client.retrieve_similar(image=photo, title=word, top_k=5)

print("like the photo:", *alike.ids)
print(f"like it, but {word}:", *changed.ids)
