"""What `broker.py` stands on. From top to bottom:

announcing   what is announced to whoever says that he starts: Home Assistant
incoming     what comes in goes to whoever heeds it; refusals are said
guardians    what guardians may say: retained, stale, seen before, signed
flight       the publications whose PUBACK has not come
link         one connection from its beginning to its end, over paho-mqtt
reasons      why there is no connection, in words
"""
