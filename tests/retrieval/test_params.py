import pytest

from visavis.errors import FileFormatError
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.params import asked, named_in, params_of, told
from visavis.retrieval.scene import Scene, read_scene

LEXICON = load_lexicon()
SCENE = Scene(
    objects={"door": (1.5, 1.0, 2.0), "Red Door": (-2, 1, 1), "lamp": (0, 2.2, 0.5)}, partner_head=(0, 1.6, 1.5)
)


def of(gloss, text, word, scene=None):
    words = text.split()
    return params_of(LEXICON[gloss].params, text, words.index(word), scene)


@pytest.mark.parametrize(
    ("gloss", "text", "word", "expected"),
    [
        ("huge size", "It is ninety-nine feet or one metre wide!", "wide!", {"size_m": 1.0}),
        ("huge size", "It is 80 cm long.", "cm", {"size_m": 0.8}),
        ("huge size", "It is 80cm long.", "80cm", {"size_m": 0.8}),
        ("huge size", "The room is two metres wide.", "wide.", {"size_m": 1.25}),
        ("huge size", "The whale is 1,200 inches long.", "long.", {"size_m": 1.25}),
        ("huge size", "It was half a metre across.", "across.", {"size_m": 0.5}),
        ("huge size", "Only a foot and a half wide.", "wide.", {"size_m": 0.4572}),
        ("huge size", "It's two and a half feet wide.", "wide.", {"size_m": 0.762}),
        ("huge size", "A two-foot fish!", "fish!", {"size_m": 0.6096}),
        ("huge size", "Three quarters of a metre wide.", "wide.", {"size_m": 0.75}),
        ("huge size", "It is 1½ m wide.", "wide.", {"size_m": 1.25}),
        ("huge size", "A thirty-inch-wide door.", "door.", {"size_m": 0.762}),
        ("huge size", "It was vast!", "vast!", {}),
        ("tiny size", "The screws are two centimetres long.", "two", {"size_m": 0.02}),
        ("tiny size", "About this small, three centimetres.", "small,", {"size_m": 0.03}),
        ("tiny size", "Just an inch more.", "inch", {"size_m": 0.0254}),
        ("tiny size", "Small, a couple of centimetres.", "Small,", {"size_m": 0.02}),
        ("tiny size", "The moth is quite small, with wings of two and a half cm.", "small,", {"size_m": 0.025}),
        ("counting", "There are three reasons.", "reasons.", {"count": 3}),
        ("counting", "Second, it rains.", "Second,", {"count": 2}),
        ("counting", "It has eight legs.", "eight", {}),
        ("counting", "A good point.", "point.", {}),
        ("clapping", "We clapped three times.", "clapped", {"repetitions": 3}),
        ("clapping", "We clapped at every one of their songs, three times.", "clapped", {"repetitions": 3}),
        ("point away", "Your seat is on the left-hand side.", "seat", {"direction": "left"}),
        ("point away", "It is back there.", "there.", {"direction": "back"}),
        ("point away", "Turn left at the church.", "left", {"direction": "left"}),
        ("point away", "He left, over there.", "there.", {}),
        ("point away", "That's right, over there.", "there.", {}),
        ("point away", "It is upstairs.", "upstairs.", {"direction": "up"}),
        ("stop", "I stop you with my left hand.", "stop", {"hand": "left"}),
        ("shrug", "Two left, three metres up.", "left,", {}),
    ],
)
def test_parameters_come_from_the_text(gloss, text, word, expected):
    assert of(gloss, text, word) == pytest.approx(expected)


def test_places_of_the_scene_are_targets():
    text = "It is over there by the red door, not under the lamp."
    assert of("point away", text, "there", SCENE) == {"target": (-2, 1, 1)}
    assert of("point away", text, "lamp.", SCENE) == {"target": (0, 2.2, 0.5)}
    assert of("point away", "Look at the doors on the left.", "Look", SCENE) == {"target": (1.5, 1.0, 2.0)}
    assert of("point away", "I mean you.", "you.", SCENE) == {"target": (0, 1.6, 1.5)}
    assert of("point away", "Over there.", "there.", SCENE) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The room is two metres wide.", [("huge size", "wide.")]),
        ("A gap of twenty centimetres.", [("narrow gap", "centimetres.")]),
        ("It is about three centimetres long.", [("tiny size", "long.")]),
        ("My sister is one metre tall.", [("low height", "tall.")]),
        ("There are three reasons.", [("counting", "three")]),
        ("First, we wash them.", [("counting", "First,")]),
        ("My brother is two metres tall.", [("tall height", "tall.")]),
        ("The third thing is the glaze.", [("counting", "third")]),
        ("First we wash them, and second we dry them.", [("counting", "First"), ("counting", "second")]),
        ("It comes in four different colours.", [("counting", "four")]),
        ("All four children sing.", [("counting", "four")]),
        ("Only one question is left.", [("counting", "one")]),
        ("Take the second street to the right.", [("counting", "second"), ("point away", "right.")]),
        ("The second he came, for the first time, one day, no one spoke.", []),
        ("It opens at three.", []),
        ("A second later it rained.", []),
        ("Turn left at the church.", [("point away", "left")]),
        ("He left the house.", []),
        ("It is up there.", [("point away", "there.")]),
        ("The bedrooms are upstairs.", [("point away", "upstairs.")]),
        ("The exit is right behind me.", [("point away", "behind")]),
        ("I am behind with my work.", []),
        ("It is over there by the door.", [("point away", "there")]),
        ("We walked home in the rain.", []),
        ("", []),
    ],
)
def test_numbers_and_places_call_for_gestures(text, expected):
    words = text.split()
    assert [(gloss, words[word]) for gloss, word in told(text, SCENE)] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We clapped twice.", {"repeats"}),
        ("Wave with your left hand three times.", {"repeats", "hand"}),
        ("No.", set()),
    ],
)
def test_how_often_and_with_which_hand_is_asked_of_any_gesture(text, expected):
    assert asked(text) == expected


@pytest.mark.parametrize(
    ("gloss", "text", "share"),
    [
        ("clapping", "They clapped.", 1.0),
        ("wagging finger", "He wags a finger at me.", 1.0),
        ("greeting wave", "She waved.", 0.5),
        ("hand on heart", "His left hand shook.", 0.0),
        ("time out", "I told you five times.", 0.0),
        ("both of us", "He saw us.", 0.0),
    ],
)
def test_a_gesture_is_named_by_any_form_of_its_words(gloss, text, share):
    assert named_in(gloss, text) == share


def test_what_the_text_says_can_be_performed():
    from visavis.retrieval.posing import perform

    text = "two metres to the left, three times, first of five an inch up by the door with my right hand"
    tried = set()
    for gesture in LEXICON.values():
        for word in range(0, 18, 4):
            params = params_of(gesture.params, text, word, SCENE)
            if (kind := (tuple(gesture.params), *map(str, params.items()))) not in tried:
                tried.add(kind)
                perform(gesture, None, params)
    assert len(tried) > 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("objects: {door: [1, 2]}", "objects.door"),
        ("objects: {door: [1, 2, .nan]}", "within 1000 m"),
        ("objects: {door: [0, 0, 0]}", "not at the origin"),
        ("objects: {'<|end|>': [1, 2, 3]}", "made of letters"),
        ("walls: 4", "walls"),
        ("- door", "got list"),
        ("objects: [", "expected a scene"),
    ],
)
def test_a_broken_scene_is_one_clear_error(tmp_path, text, message):
    path = tmp_path / "scene.yaml"
    path.write_text(text)
    with pytest.raises(FileFormatError, match="expected a scene") as error:
        read_scene(path)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_scene_is_read(tmp_path):
    path = tmp_path / "scene.yaml"
    path.write_text("objects:\n  Door: [1.5, 1.0, 2.0]\npartner_head: [0, 1.6, 1.5]\n")
    assert read_scene(path).objects == {"door": (1.5, 1.0, 2.0)}
    with pytest.raises(FileFormatError, match="No such file"):
        read_scene(tmp_path / "nothing.yaml")
