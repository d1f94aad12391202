"""English: how it says that its speaker does not know.

In these patterns `~` is up to four adverbs.
"""

from jaxalign.rewards.stance_grammar import grammar, words

_I = r"(?:\b(?:i|we) ~|^~|\b(?:and|but|or) ~)"  # "Don't know." has no subject
_CAN_NOT = r"(?:can|could|will|would) ~not ~"
_AM = r"(?:am|are|was|were|feel|remain) ~"
_HOLD = r"~(?:do ~not ~(?:have|possess)|(?:have|had|am with|has)(?: got)? ~(?:no|not)(?: got)?|lack)"
_SAY = words(
    r"say tell answer respond reply determine recall remember provide give offer find "
    r"verify confirm identify speak name comment speculate figure share make know think\sof "
    r"establish decide judge predict guess place recogni[sz]e come\sup work\sout comply "
    r"be\s(?:sure|certain|of\s\w+) fulfil l?ocate pinpoint trace state specify vouch"
)
_FACTS = words(
    "ideas? clues? inkling notion information info knowledge records? recollection answers? "
    "memor(?:y|ies) comments? data details? access foggiest faintest slightest context ways? "
    "evidence sources? opinions? preferences? expertise familiarity means material facts?"
)
_TEXT = words(
    "texts? passages? context documents? articles? paragraphs? sources? prompt excerpt page "
    "story report author material snippet description question records? information"
)
_HARD = words(r"impossible not\spossible not\seasy hard difficult tough tricky")
_THINK = words(
    "thinks? thought says? said saying believes? believed assumes? supposes? imagines? "
    "suspects? claims? claimed claiming tells? told wrote writes answered answers replied "
    "replies responded admitted argues? sings sang insists? insisted whispered shouted"
)
_MORE_QUESTION = r"(?:\w+ ){0,3}(?:it|he|him|she|they|them)\b"
_DULL = words(  # what "it is ..." can go on with, without being an answer
    r"not un\w+ no hard difficult tough tricky possible impossible interesting important "
    r"worth beyond outside best better easy good great clear too my up\sto on\sme something "
    r"nothing why open available often many several various different insufficient me all "
    r"an?\s(?:\w+\s){0,2}(?:question|one|topic|subject|mystery|matter|shame|pity|field|riddle) "
    r"question likely"
)

_FOLDS = [
    (r"([a-z])\1{2,}", r"\1"),  # nooo
    (r"\b(?:can ?'?t|cannot|ca n't)\b", "can not"),
    (r"\bwon'?t\b", "will not"),
    (r"\bain'?t got\b", "have not got"),
    (r"\bain'?t\b", "am not"),
    (
        r"\b(do|does|did|is|are|was|were|could|would|should|have|has|had) ?n'?t\b",
        r"\1 not",
    ),
    (r"\bi'?m\b", "i am"),
    (r"\b(\w+)'ve\b", r"\1 have"),
    (r"\b(\w+)'d\b", r"\1 would"),
    (r"\b(\w+)'ll\b", r"\1 will"),
    (r"\b(\w+)'re\b", r"\1 are"),
    (r"\b(it|that|there|here|what|he|she|who|this|where|name)'?s\b", r"\1 is"),
    (r"\b(?:i )?(?:dunno|dun ?no|donno|duno)\b", "i do not know"),
    (r"\bidk\b", "i do not know"),
    # Courtesies and the like are taken out, wherever they stand.
    (
        r"(?:(?<=[\s,.!?:;(-])|^)(?:"
        r"(?:i am |we are )?(?:so |very |terribly |really |truly |deeply )*sorry"
        r"(?: (?:about|for) (?:that|this|it|the \w+))?(?: to (?:say|report))?(?: that)?"
        r"|(?:my |our )?(?:sincere(?:st)? |deepest )?apologies|(?:i |we )?(?:do )?"
        r"apologi[sz]e(?: for \w+ \w+)?|(?:please )?(?:forgive|pardon|excuse) me|pardon"
        r"|i am afraid(?: that)?|i fear(?: that)?|(?:un)?fortunately|sadly|regret(?:t?ably|fully)"
        r"|alas|(?:quite )?honestly|frankly(?: speaking)?|to be (?:\w+ )?(?:honest|frank|fair|"
        r"truthful|clear)(?: with you)?|in all (?:honesty|fairness)|in truth|truth be told"
        r"|to tell (?:you )?the truth|tbh|ngl|h+m+|u+m+|u+h+m*|er+m*|well|oh|ah|aw+|wow|okay|ok"
        r"|gosh|gee+z|jeez|yikes|huh|dear|oops|shrugs|nope|yeah|yep|whoops|oof|welp|man|mate|sir"
        r"|madam|ma'am|buddy|my friend|dude|bro|boss|pal|folks|(?:that|the) (?:i|we) "
        r"(?:must|have to) admit|i (?:must|have to|will|need to|should|would have to) ~"
        r"(?:say|admit|confess|concede)(?: that)?|i (?:admit|confess|concede)(?: that)?"
        r"|i (?:regret|hate|am sad) (?:to (?:say|inform you|admit|report))?(?: ?that)?"
        r"|at (?:the|this) moment|right now|at present|as of now|at all|however|either|though"
        r"|anyway|i guess(?=[,.!?]|$)|off the top of my head|so far"
        r")(?=[\s,.!?:;)-]|$),?",
        "",
    ),
    (r"[ ,]+,", ","),
    (r"(?<=^),? +| {2,}", " "),
]

_UNKNOWN = [
    # I do not know, I can not say
    rf"{_I}(?:do|would|could|can|will) ~not ~(?:(?:have a way to|want to|seem to|claim to|happen"
    r" to|pretend to|profess to) ~)?(?:know|remember|recall)\b",
    rf"\bi {_AM}not ~know\w*\b|\b(?:nor|neither) (?:do|can|could|would) (?:i|we)\b",
    rf"{_I}(?:do|can|could|would) ~not ~(?:think|believe|feel)(?: that)? (?:i|we) ~(?:know|can|"
    r"could|am|have)\b",
    rf"{_I}{_CAN_NOT}(?:help|assist)(?! (?:but|think|feel|notic|believ))\b",
    rf"{_I}{_CAN_NOT}{_SAY}\b",
    r"\b(?:can|could) neither confirm nor deny\b|\bnot (?:\w+ ){0,3}(?:that )?(?:i|we) ~(?:have|"
    r"possess|know|can (?:answer|help|say|tell|speak|share))\b",
    r"\bnot (?:something|a thing|one|anything|a (?:question|topic)) (?:that )?(?:i|we)\b",
    # I have no idea, I am not able to
    rf"{_I}{_HOLD}\b(?: [\w'-]+){{0,5}}? {_FACTS}\b(?! (?:could|can|would)\b)",
    rf"^(?:no|not|without|insufficient|lacking|lack of|zero)\b(?: [\w'-]+){{0,3}}? {_FACTS}\b"
    r"(?! (?:could|can|would|is|are|was|were)\b)",
    rf"{_I}(?:have|know) ~(?:zero|very little|little|next to nothing|nothing|not)\b",
    rf"{_I}{_AM}not ~(?:aware|familiar|able|allowed|permitted|qualified|equipped|comfortable|"
    r"in (?:a|any) position|knowledgeable|privy|acquainted|the right|programmed|willing|prepared|"
    r"informed|versed|going to (?:guess|answer|speculate)|in the know|an? expert (?:on|in) this)\b",
    rf"\bi do not ~feel ~(?:qualified|comfortable|able|confident)\b|{_I}{_AM}~(?:stumped|clueless|"
    r"at a loss|unaware|unable|unfamiliar|out of my depth|drawing a blank|in the dark|ignorant|"
    r"lost)\b|^~(?:unable|clueless|stumped)\b",
    rf"{_I}(?:would |will )?~need (?:to know|to see|more|additional|further|some)\b",
    r"\bi ~(?:only )?wish (?:i|we) ~(?:knew|could|had)\b|\bif only (?:i|we) ~(?:knew|could)\b|"
    r"\bignorance on\b|\bi (?:plead|confess|admit)\w* (?:my )?ignorance\b|^my ignorance\b",
    rf"{_I}(?:have |had )?~(?:forgotten|forgot)\b|\b(?:i|we) ~forget\b|\b(?:have |did |had )?(?:not|never) ~"
    r"(?:heard of|hear of|heard that|come across|encountered|learn(?:ed|t)|studied)\b",
    r"\bi (?:was|were) (?:not able|unable) to (?:find|determine|answer|locate)\b|\bi give up\b",
    # I would rather not
    rf"{_I}(?:(?:would|must|will|can only|have to|choose to|want to|think i will) ~)?(?:rather not|"
    r"rather (?:say nothing|stay silent|remain silent)|prefer (?:not|to (?:remain|stay|say "
    r"nothing|abstain|pass))|decline|refuse|abstain|refrain|not ~(?:guess|speculate|answer|"
    r"hazard|make \w+ up))\b",
    r"^(?:pass|skip|no comment|declined)$|\bi (?:will|must|would) ~(?:have to )?pass\b",
    rf"{_I}(?:do|would|will|am) not ~(?:want|like|wish|care|dare|going) to (?:guess|speculate|"
    r"answer|say|make|invent|mislead|give you (?:wrong|false|incorrect))\b",
    r"\b(?:i|it|that) would (?:just |only )*be (?:just |only )*(?:a (?:wild |mere |pure )?guess|"
    r"guessing|making (?:\w+ )?up|making \w+ up|speculating|speculation)\b",
    # it is unknown, the text does not say
    r"^(?:it|that|this|which|(?:the |its |his |her |their )?(?:\w+ ){0,7}?\w+|)(?: ?\b(?:is|are|"
    r"was|remains?)) ~(?:not known(?! (?:for|as)\b)|unclear|undetermined|undisclosed|unanswerable|unknowable|not "
    r"clear|a mystery)(?! to (?!me|us))\b",
    r"^(?:not known|unclear|undetermined|unanswerable)\b",
    r"^(?:(?:it|that|this|the (?:\w+ ){0,6}?\w+)(?: (?:is|are|remains?)) )?~unknown(?: to (?:me|us|"
    r"science|historians)\b| (?:who|what|when|where|why|how|if|whether)\b|$)",
    r"\b(?:not )?(?:un)?(?:known|familiar|clear|obvious|apparent|available) to (?:me|us)\b",
    r"\b(?:nobody|no one|no-one|who|god|heavens?|lord|goodness) ~knows?\b(?! (?:that|him|her|me|"
    r"you|us|this|it|better))",
    rf"\bno (?:way (?:of |to |for me to )?(?:know|tell|say|be sure|determin|answer)|telling|known "
    rf"answer|mention|information)|\bnothing (?:\w+ )?in the {_TEXT}\b",
    rf"\b{_HARD} (?:for (?:me|us|anyone) )?to ~(?:say|tell|know|determine|answer|be sure|"
    r"establish|verify|predict|pin down|infer)\b",
    r"\bcan ~not ~be ~(?:determined|answered|known|established|inferred|said|verified|found|"
    r"identified|deduced|confirmed|derived|told)\b(?! by\b)",
    r"\bnot (?:nearly )?(?:enough|sufficient|adequate) (?:\w+ ){0,2}(?:information|context|data|"
    r"details?|evidence|info)\b|\b(?:insufficient|too little|inadequate) (?:\w+ )?(?:information|"
    r"context|data|details?|evidence|info)\b",
    rf"\b{_TEXT}(?: \w+){{0,3}} ~(?:do|does|did|is|are) ~not ~(?:say|mention|state|specify|contain|"
    r"provide|include|give|tell|indicate|reveal|describe|name|disclose|list|answer|cover|address|"
    r"discuss|explain|identify|available|clear)\b",
    r"\b(?:is|are|was|were) ~not ~(?:mentioned|stated|specified|given|provided|included|disclosed|"
    r"discussed|addressed|covered|listed|indicated|found in)\b",
    # idioms
    r"\b(?:escapes|eludes|evades|beats) me\b|\bslip(?:s|ped) my mind\b|\bbeyond (?:me|my|what i)\b|"
    r"\bsearch me\b|\b(?:got|stumped) me\b|\bguess is as good as mine\b|\b(?:damned|hanged|darned|"
    r"hell|damn) if i know\b|\bdo not ask me\b(?! (?:how|why))|\babove my pay grade\b|\bnews to "
    r"me\b|\b(?:draw\w*|drew) a blank\b|\bmind is (?:a )?blank\b|\boutside (?:of )?my (?:\w+ )?"
    r"(?:knowledge|expertise|area|scope|ability)\b|\bexceeds my\b|\bover my head\b|\bhow (?:should|"
    r"would|could) i know\b|\bno longer (?:remember|recall|know)\b|\bany(?:one|body)'s guess\b|"
    r"^n ?/ ?a$|^not applicable$",
]

ENGLISH = grammar(
    adverbs=(
        r"\w+ly|just|quite|too|so|very|still|even|also|all|at|yet|now|ever|either|always|much|"
        r"myself|any|100 ?%|one hundred percent|that|of course|indeed|rather|the least bit|for the "
        r"life of me|as of yet|in fact|some(?:what|how)|a bit|only|best|of|as|one|then|currently"
    ),
    folds=_FOLDS,
    unknown="|".join(_UNKNOWN),
    unsure=(
        rf"{_I}(?:am|are|feel|was) ~not ~(?:sure|certain|confident|positive|convinced|clear)\b|"
        rf"^(?:~not|not) ~(?:sure|certain|confident|positive)\b|{_I}(?:am|are|remain|feel) ~"
        r"(?:unsure|uncertain|undecided|torn)\b|^~(?:unsure|uncertain|undecided)(?= (?:about|of|if|"
        rf"whether|wh\w+|how)\b|$)|{_I}(?:have|am having) ~(?:my )?(?:some )?(?:doubts|trouble)\b"
    ),
    vague=(
        r"\bfor (?:sure|certain|a fact)\b|\bexact(?:ly)?\b|\bprecise(?:ly)?\b|\bwith (?:\w+ )?"
        r"(?:certainty|confidence|precision)\b|\bmuch about\b|\bdefinitively\b|\b(?:be|am|is) "
        r"(?:\w+ )?(?:sure|certain)\b|\bwhole\b|\beverything\b|\bhow to (?:spell|pronounce)\b|\ball "
        r"(?:of )?(?:them|these|those|the)\b|\b(?:know|remember|recall|have) (?:the|many|any) "
        r"(?:\w+ )?details\b|\b(?:if|whether) (?:it|that|this) is (?:right|correct|true)\b"
    ),
    more=(
        r"\b(?:any ?more|more about|know more|else|further|additional|beyond that)\b|\b(?:why|how|"
        r"what) (?:you|people|anyone|anybody|everyone|others|the others)\b|\babout you\b|\bwhy$|"
        rf"\b(?:its|his|her|their) \w+$|\b(?:who|why|when|where|how|what) {_MORE_QUESTION}"
    ),
    denied=(
        r"(?:\b(?:not|never|hardly)(?: \w+){0,2}? (?:that|because|as if|as though|like|say|said|"
        r"saying|claim|claimed|claiming|think|believe|mean|meant|true|the case|pretend|admit|"
        r"suggest)(?: to \w+)?(?: that)? |\b(?:false|wrong|lying|absurd|silly|untrue|mistaken?|lie|"
        r"far from|instead of|rather than|pretend|pretending|no way|as though|as if|imply|myth|"
        r"nonsense)\b(?: \w+){0,6} |(?:^|[,.])(?:(?!\b(?:i|we|let (?:me|us))\b)[^,.])*\b"
        rf"(?:{_THINK}|{_THINK} (?:me|him|her|you|them|us|the \w+))(?: that)?,? |"
        r"\b(?:if|when|whenever|unless|until|till|before|in case|lest)(?: \w+)? |\b(?:what|"
        r"everything|all)(?: that)? |\b(?:song|single|album|track|film|movie|novel|book|title|band|"
        r"episode|called|titled|entitled|named)(?: is| was)? |\b(?:view|belief|idea|claim|theory|"
        r"opinion|doctrine|notion|position)s? that (?:\w+ ){0,6})$"
    ),
    undone=(
        r" (?:is|was) (?:not|never|a lie|false|wrong|untrue)\b|(?: \w+){0,4} (?:other|better|"
        r"different)(?: \w+)? than\b|(?: \w+){0,3} (?:except|besides) | how (?:often|many times)\b|"
        r" any(?:one|body) who\b"
    ),
    mention=(
        r"\b(?:abbreviation|acronym|phrase|expression|the words?|slang|idiom|translat\w+|stands? "
        r"for|short for|means? (?:that )?(?:QUOTE|i do not)|QUOTE means|lyrics?)\b"
    ),
    guess="|".join(
        [
            r"^(?:so |then |or )?~(?:maybe|perhaps|probably|possibly|likely|presumably|roughly|"
            r"approximately|supposedly|reportedly|allegedly)\b(?! (?:you|i|we|ask|try|someone|"
            r"somebody|another|not)\b)",
            r"\b(?:i|we) ~(?:(?:would|will|am going to|can only|might|could|do|am|have to|am "
            r"inclined to|am fairly|am pretty|am quite|am almost) ~)?(?:think|believe|guess|"
            r"guessing|suspect|bet|reckon|go with|go for|assume|suppose|imagine|answer|pick|"
            r"choose|wager|venture|estimate|opt for|lean|leaning|put it|vote|sure|confident|"
            r"certain|inclined)\b(?! (?:you|i|we|so|not|about|again|nothing|nobody|this (?:is a|"
            r"question)|that (?:you|i|we)|it (?:is|would be) (?:best|better|worth|important|hard|a "
            r"(?:good|great|fair)|safe))\b)",
            r"\b(?:i|we) (?:would|will) ~say\b|^i say\b|\blet (?:me|us) ~(?:guess|say|go with)\b",
            r"\b(?:my|just a|a) (?:\w+ ){0,2}(?:guess|bet|hunch|estimate|money|impression|"
            r"instinct|pick|vote|choice|gut|intuition)\b(?! is as good)(?= \w|$)|\bmy (?:\w+ )?"
            r"answer (?:is|would be)\b",
            r"^(?!.*\b(?:or|not|any(?:thing|one|body))\b).*\b(?:might|may|could|must|should|would|"
            r"has to|have to|ought to)(?: have)? (?:been|be)\b(?! ~(?:a good|hard|great|nice|found|"
            r"interesting|able|best|better|helpful|worth|wrong|mistaken|wise|happy|glad))",
            r"^(?!.*\b(?:or|not)\b).*\b(?:seems?|appears?) to be\b|\bin my (?:\w+ )?opinion\b|"
            r"\bif i had to\b|\bi (?:do )?know (?:that|this|it|for)\b",
        ]
    ),
    claim=(
        r"^(?:so |then |and )?(?:it|that|this|he|she|they|there|(?:the|its|his|her|their|my) \w+"
        r"(?: \w+){0,5}?) ~(?:is|was|are|were)(?: called| named| in| on| at| about| around)? (?:the "
        r"|a )?(?-i:[A-Z0-9])|^(?:so |then |and )?(?:it|that|this|he|she|they|there|the ~(?:answer|"
        r"capital|name|author|year|date|number|result|winner|person|city|country)(?: \w+){0,4}?) ~"
        rf"(?:is|was|are|were|has|had)\b(?! ~{_DULL}\b)"
    ),
    aside="|".join(
        [
            r"^(?:and |or |so |then |also |as |because |since |but )*(?:i|we|you|my|your|our|let|"
            r"please|thanks?|could|can|would|may|feel|if|good|great|interesting|nice|fair|tough|"
            r"tricky|hard|question|answer|final answer|the answer|a|q|response|reply|re|note|"
            r"here|try|ask|check|consult|see|look|contact|visit|search|do|does|did|is|are|was|"
            r"were|what|who|when|where|why|how|which|hope|perhaps|maybe|whether|nor|neither|"
            r"other|some(?:one|body)|anyone|another|even|despite|given|based|according|regarding|"
            r"concerning|unless|until|(?:this|that|it)(?: is| was)? (?:an? )?(?:\w+ ){0,2}(?:"
            r"question|topic|subject|one)|the question|more|QUOTE|any)\b",
            r"^(?:in|on|at|by|from|with|to|for|of|about|after|under)\b(?!.*[0-9])",
            r"^(?!no$|not ).*\b(?:not|never|nothing|none|without|unknown|unclear|depends?|various|"
            r"impossible|insufficient|many|several|more information|happy to|glad to|available|"
            r"look it up|search engine|anything|anyone)\b",
            r"^\W*$|^\w*ly$",
        ]
    ),
    verb=r"\b(?:is|was|are|were|has|had|have|do|does|did|rings?|hangs?|came|went|says?|said)\b",
    links=(
        r"(?:(?<=\s)|^)(?:(?:but|though|although|yet|while|whereas|even though|"
        r"so(?= (?:i|it|the)\b)|and(?= (?:i|we|so|it is|that is)\b)|"
        r"or(?= (?:maybe|perhaps)\b)|because(?= (?:i|my)\b))\s+|"
        r"(?=(?:maybe|perhaps|probably)\s))"
    ),
)
