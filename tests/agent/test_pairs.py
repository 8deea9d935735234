from visavis.agent.pairs import pair_batch, unpadded
from visavis.retrieval.embedder import Encoder


def test_pairs_keep_the_end_of_a_long_first_and_the_beginning_of_a_long_second():
    encoder = unpadded(Encoder())
    ids, mask, types = pair_batch(encoder, [("so " * 200 + "when", "now " * 300), ("", "")])
    assert ids.shape == mask.shape == types.shape and ids.shape[1] == 64 + 96 + 3
    when = encoder.tokenizer.token_to_id("when")
    assert ids[0, 64] == when and ids[0, 65] == encoder.tokenizer.token_to_id("[SEP]")
    assert types[0, 65] == 0 and types[0, 66] == 1 and int(mask[1].sum()) == 3
