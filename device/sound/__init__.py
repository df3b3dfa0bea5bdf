"""From the sound card to a Chunk, and whether it is sound at all. From top to bottom:

microphone   PyAudio in callback mode, with deadlines
intake       where the callback hands bytes over
portaudio    calls with a deadline; devices by names that stay
pace         whether sound arrives as fast as the clock; pure
soundness    zeros, frozen, constant, clipped, muted; pure
server       which source a sound server has connected us to
cards        what the kernel knows of sound cards
"""
