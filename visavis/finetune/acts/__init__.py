"""The corpus of ACT: which gestures a clause calls for, before which word, with which parameters, felt how.

    utterances (authored) → scenes (one, two or no gestures; fillers, carriers, paraphrases) → prompt and plan

Candidates and scores are what a gesture index says that has not seen the scene's utterances (`unseen`), so that they
look as on text nobody wrote before: the right gloss is often not first, sometimes absent (then it is not made). Train
and dev differ in utterances. The text is what the project wrote, and sentences of GoEmotions for feeling without
gesture.
"""

from visavis.finetune.acts.compose import generate, material

__all__ = ["generate", "material"]
