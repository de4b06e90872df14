"""Every threshold of the rules, each a ratio. How they were set, and how they do elsewhere: ``benchmarks``."""

# A network has learnt something when its loss is below this share of what the best constant answer gets,
LEARNS_BELOW = 0.8
# and so much that it is well, whatever looks odd, below this one.
LEARNS_WELL_BELOW = 0.3
# Between the two it is learning, and hardly; below this one, something at all.
HARDLY_BELOW = 0.98
# Without a loss to compare with, it must have fallen to this share of where it began.
FALLS_BELOW = 0.7
# And to this one, with answers that differ, for more than a constant answer to be likely.
FALLS_FAR_BELOW = 0.1
# So many steps are needed to say that a network does not learn.
ENOUGH_STEPS = 30

# First hidden layer over last: what AutoTrainer (Zhang et al. 2021, table 1) calls vanishing, and near its 70 for
# exploding. Batch normalisation without skip connections reaches 32 in health (Yang et al. 2019 say why).
VANISHES_BELOW = 1e-3
EXPLODES_ABOVE = 100.0
# A starting loss so far above that of chance says that the signal itself grows on its way forward. Numbers whose mean
# is far from 0 start some ten times above in health.
LOSS_EXPLODES_ABOVE = 100.0
# Share of a layer's units, or of its outputs.
MOSTLY = 0.9
# Update norm over weight norm: 1e-3 is the usual guide. Adam's first steps reach 0.1 in health, where weights are
# small.
UPDATE_TOO_LARGE = 0.2
UPDATE_TOO_SMALL = 1e-4
# The learning rate has been so much larger before: a schedule has taken it away.
RATE_TAKEN_AWAY = 1e-2
# Largest of the first losses over the first one, which no update had touched.
LOSS_JUMPS_ABOVE = 3.0
# Loss now over the lowest it has been; where it is unknown which loss it is, much more is asked for.
RISES_ABOVE, RISES_FAR_ABOVE = 1.5, 30.0
# Numbers that became inf or NaN had grown so much before, if growth is the cause.
GROWN = 30.0
# Outputs of this size lead to numbers that are not finite, however they came about.
HUGE = 1e6
# Root mean square of the inputs. Pixels from 0 to 255 have some 100, standardised columns 1.
INPUT_LARGE, INPUT_SMALL = 8.0, 0.03
# Spread of the answers, squared, over the loss: below it they differ too little between examples to explain it.
SAME_ANSWERS = 0.03
# The same over the size of the answers: below it no difference is left that matters.
SAME_BELOW = 1e-4
# And below this one in the first steps the network starts so that examples are alike.
FROM_START = 0.02
# Pull of the weight decay over that of the gradient.
DECAY_RULES = 0.5
# Share of recorded steps in which something has to be so, to be called so in all of them.
IN_ALL = 0.9
