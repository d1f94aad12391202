"""English: how it says that its speaker does not know."""

from jaxalign.rewards.stance_grammar import grammar, words

_I = r"\b(?:i|we) "
_NOT = r"~(?:do|would|could|can|will|am|are|have|should) ~not ~"
_SAY = words(
    "say tell answer respond reply determine help assist recall remember provide give "
    "offer find verify confirm identify speak name comment speculate figure discuss "
    "share make know establish decide judge predict guess place recognize recognise "
    r"think\sof come\sup work\sout be\s(?:sure|certain|of) tell comply fulfill do"
)
_FACTS = words(
    "idea ideas clue clues inkling notion information info knowledge record records "
    "recollection memory memories answer answers comment data detail details access "
    "foggiest faintest slightest context evidence sources? opinion opinions preferences? "
    "expertise familiarity means"
)
_TEXT = words(
    "text passage context document article paragraph source sources question prompt "
    "excerpt page story report author material snippet description"
)
_HARD = r"(?:impossible|not possible|not easy|~hard|~difficult|~tough|~tricky)"
_THOUGHT = words(
    "think thinks thought say says said saying believe believes believed assume assumes "
    "suppose supposes imagine suspect claim claims claimed tell tells told wrote writes "
    "answered answers replied replies responded admitted argue sings sang insist insisted "
    "me him her you them us"
)
_OTHER = (
    r"(?:it|that|this|he|she|they|there|(?:the|its|his|her|their|my) \w+(?: \w+){0,5}?)"
)

ENGLISH = grammar(
    adverbs=(
        r"\w+ly|just|quite|too|so|very|still|even|also|all|at|yet|now|ever|well|either|"
        r"always|much|myself|any|100 ?%|one hundred percent|that|of course|indeed|rather|"
        r"the least bit|for the life of me|as of yet|in fact|some(?:what|how)|a bit|only|"
        r"really|simply|best|of|as|one"
    ),
    folds=[
        (r"([a-z])\1{2,}", r"\1"),
        (r"\b(?:can'?t|cannot)\b", "can not"),
        (r"\bwon'?t\b", "will not"),
        (r"\bain'?t got\b", "have not got"),
        (r"\bain'?t\b", "am not"),
        (
            r"\b(do|does|did|is|are|was|were|could|would|should|have|has|had)n'?t\b",
            r"\1 not",
        ),
        (r"\b(i|we|you|they)'ve\b", r"\1 have"),
        (r"\bi'?m\b", "i am"),
        (r"\b(\w+)'d\b", r"\1 would"),
        (r"\b(\w+)'ll\b", r"\1 will"),
        (r"\b(\w+)'re\b", r"\1 are"),
        (r"\b(it|that|there|here|what|he|she|who|this|where|name)'?s\b", r"\1 is"),
        (r"\b(?:i )?(?:dunno|dun no|donno)\b", "i do not know"),
        (r"\bidk\b", "i do not know"),
        (r"\bi have not\b(?! (?:the|a|any|got|an|even))", "i did not"),
        (
            r"(?:(?<=[\s,.!?:;(-])|^)(?:"
            r"(?:i am |we are )?(?:so |very |terribly |really |truly |deeply )*sorry"
            r"(?: (?:about|for) (?:that|this|it|the \w+))?(?: to (?:say|report))?(?: that)?"
            r"|(?:my |our )?(?:sincere |deepest )?apologies|(?:i |we )?(?:do )?apologi[sz]e"
            r"(?: for \w+ \w+)?|(?:please )?(?:forgive|pardon|excuse) me|pardon"
            r"|i am afraid(?: that)?|i fear(?: that)?|(?:un)?fortunately|sadly|regrettably"
            r"|alas|(?:quite )?honestly|frankly(?: speaking)?|to be (?:\w+ )?"
            r"(?:honest|frank|fair|truthful|clear)(?: with you)?|in all (?:honesty|fairness)"
            r"|in truth|truth be told|to tell (?:you )?the truth|tbh|ngl|h+m+|u+m+|u+h+m*|er"
            r"|well|oh|ah|aw|wow|okay|ok|gosh|geez|jeez|yikes|huh|dear|oops|shrugs"
            r"|mate|man|sir|madam|ma'am|buddy|my friend|dude|bro|boss|pal|folks"
            r"|i (?:must|have to|will|need to|should|would have to) (?:~say|admit|confess)"
            r"(?: that)?|i (?:regret|hate|am sad) to (?:say|inform you|admit|report)(?: that)?"
            r"|at (?:the|this) moment|right now|at present|as of now|at all|however|either"
            r"|though|anyway|i guess(?=[,.!?]|$)"
            r")(?=[\s,.!?:;)-]|$),?",
            "",
        ),
        (r"[ ,]+,", ","),
        (r" {2,}", " "),
    ],
    unknown="|".join(
        [
            # I do not know, I can not say, I have no idea, I have not got a clue
            rf"{_I}~(?:do|would|could|can) ~not ~(?:have a way to |want to |seem to |claim to |"
            r"pretend to |happen to |know how to )?~(?:know|remember|recall)\b",
            rf"^(?:do|would|could|can) not ~(?:know|remember|recall|say|tell|answer)\b",
            r"\b(?:nor|neither) (?:do|can|could|would) (?:i|we)\b",
            rf"{_I}~(?:do|can|could|would) ~not ~(?:think|believe) (?:that )?(?:i|we) ~"
            r"(?:know|can|could|am able|have (?:the|an|any|enough))",
            rf"{_I}~(?:can|could) ~not ~(?:help|assist)(?! (?:but|think|feel|notic|believ))\b",
            rf"{_I}~(?:can|could|will) ~not ~(?!help|assist){_SAY}\b",
            rf"^(?:can|could|will) not ~{_SAY}\b",
            rf"(?:{_I}~(?:do ~not ~have|(?:have|had|am|are)(?: got)? ~(?:no|not(?: got)?)|lack|"
            rf"(?:can|could) ~find ~no|am lacking|am without)|^(?:no|not|have not(?: got)?|"
            rf"do not have|without|insufficient|lacking|lack of|zero))\b(?: [\w'-]+){{0,5}}? "
            rf"{_FACTS}\b(?! (?:could|can|would|is more))",
            rf"{_I}(?:have |have got )?~(?:zero|little|absolutely no) {_FACTS}\b",
            rf"{_I}~(?:am|are) ~not ~(?:aware|familiar|able|allowed|permitted|qualified|equipped|"
            r"comfortable|in a position|knowledgeable|privy|acquainted|the right|programmed|"
            r"willing|going to (?:guess|answer|speculate)|informed)\b",
            rf"(?:{_I}~(?:am|are|was|remain) ~|^~)(?:stumped|clueless|at a loss|unaware|"
            r"unable|unfamiliar|out of my depth|drawing a blank|in the dark|ignorant)\b",
            rf"{_I}~know ~(?:nothing|not)\b|\bi ~(?:only )?wish (?:i|we) (?:~knew|~could|had)",
            rf"{_I}(?:~(?:have )?~(?:forgotten|forget|forgot)|(?:have |did )?(?:not |never) "
            r"(?:~heard of|hear of|come across|encountered))\b",
            r"\bnever heard of\b|\bi did not ~(?:heard|come across|find|learned|studied|got)\b",
            r"\bi (?:was|were) (?:not able|unable) to (?:find|determine|answer|locate)\b",
            # I decline
            rf"{_I}(?:~would|~must|~will|~can only|~have to|~choose to|~think i will|~want to)? "
            r"?~(?:rather not|prefer not|decline|refuse|abstain|refrain|not "
            r"(?:guess|speculate|answer|hazard|make something up))\b",
            r"^(?:rather not|prefer not|(?:i )?(?:will )?(?:pass|skip)|no comment|declined?)\b",
            rf"{_I}(?:do not|would not|will not|am not going to) ~(?:want|like|wish|care|dare) to "
            r"(?:guess|speculate|answer|say|make|invent|mislead)",
            r"\bi (?:would|will) ~(?:just |only )?be (?:just |only )?guessing\b",
            # unknown, cannot be determined, the text does not say
            r"^(?:it|that|this|which|(?:the |its |his |her |their )?(?:\w+ ){0,7}?\w+|~)(?: is|"
            r" are| remains?| was)?(?: ~)?(?<=\b)(?:not known|unclear|undetermined|undisclosed|"
            r"unanswerable|unknowable|not clear|a mystery)(?: ~(?:to (?:me|us)|at|who|what|when|"
            r"where|why|how|if|whether|from|in)\b|$)",
            r"^(?:it|that|this|the (?:\w+ ){0,6}?\w+|~)?(?: ~(?:is|are|remains?))? ?~unknown"
            r"(?: to (?:me|us|science|historians)| (?:who|what|when|where|why|how|if|whether)\b|$)",
            r"\bnot (?:known|familiar|clear|obvious|apparent|available) to (?:me|us)\b|\bnot "
            r"(?:something|a thing|one|anything|a question|a topic) (?:that )?(?:i|we)(?: "
            r"(?:can|could|would|am able to|have))? ~(?:know|answer|help|say|familiar)|"
            r"\bnot something i\b",
            r"\b(?:nobody|no one|no-one|who|god|heaven|heavens|lord|goodness|hell if i) ~"
            r"(?:really )?knows?\b(?! (?:that|him|her|me|you|us))",
            r"\bno (?:way (?:of |to |for me to )?(?:know|tell|say|be sure|determin|answer|find)|"
            r"telling|(?:~)?(?:known )?answer|mention|(?:\w+ )?information)\b",
            rf"\b{_HARD} (?:for (?:me|us|anyone) )?to (?:~)(?:say|tell|know|determine|answer|be "
            r"sure|establish|verify|predict|pin down|infer|identify)\b",
            rf"\b(?:can|could) ~not ~be ~(?:determined|answered|known|established|inferred|said|"
            r"verified|found|identified|deduced|confirmed|derived|told)\b",
            r"\b(?:not|is not|are not|not nearly) (?:enough|sufficient|adequate) (?:\w+ ){0,2}"
            r"(?:information|context|data|details?|evidence|info)\b|\b(?:insufficient|too "
            r"little|inadequate) (?:\w+ )?(?:information|context|data|details?|evidence|info)\b",
            rf"\b{_TEXT}(?: \w+){{0,3}} ~(?:do|does|did) ~not ~(?:say|mention|state|specify|"
            r"contain|provide|include|give|tell|indicate|reveal|describe|name|disclose|list|"
            r"answer|cover|address|discuss|explain|identify)\b",
            r"\b(?:is|are|was|were) ~not ~(?:mentioned|stated|specified|given|provided|included|"
            r"disclosed|discussed|addressed|covered|listed|indicated|found in)\b",
            rf"\bnothing (?:\w+ )?in the {_TEXT}\b",
            # idioms
            r"\bescapes me\b|\bslip(?:s|ped) my mind\b|\bbeyond (?:me|my)\b|\bbeats me\b|"
            r"\bsearch me\b|\b(?:you(?: have)? )?(?:got|stumped) me\b|\bguess is as good as mine\b|"
            r"\b(?:damned|hanged|darned|hell) if i know\b|\bdo not ask me\b|\babove my pay grade\b|"
            r"\bnews to me\b|\b(?:draw|drawing|drew|drawn) a blank\b|\bno bells\b|\bmind is (?:a )?"
            r"blank\b|\boutside (?:of )?my (?:\w+ )?(?:knowledge|expertise|area|scope|ability)\b|"
            r"\bover my head\b|\bhow (?:should|would|could) i know\b|\bno longer remember\b",
            r"^(?:n / ?a|n/?a|not applicable|unanswerable|anyone is guess|anybody is guess)$",
        ]
    ),
    unsure="|".join(
        [
            rf"{_I}~(?:am|are|feel) ~not ~(?:sure|certain|confident|positive|convinced|clear)\b",
            r"^(?:~not|not) ~(?:sure|certain|confident|positive)\b",
            rf"(?:{_I}~(?:am|are|remain|feel) ~|^~)(?:unsure|uncertain|undecided|torn|not so sure)\b",
            rf"{_I}~(?:have|am having) ~(?:my )?(?:some )?(?:doubts|trouble)\b",
            r"\bi am having (?:\w+ )?trouble (?:remembering|recalling)\b",
        ]
    ),
    vague=(
        r"\bfor (?:sure|certain)\b|\bexact(?:ly)?\b|\bprecise(?:ly)?\b|\bwith (?:\w+ )?"
        r"(?:certainty|confidence|precision)\b|\bmuch about\b|\bdefinitively\b|\b(?:be|am|is) "
        r"(?:\w+ )?(?:sure|certain)\b|\ball the (?:details|facts)\b|\bfor a fact\b|\bwhole\b|"
        r"\beverything\b|\bhow to (?:spell|pronounce)|\b(?:know|remember|recall|have) (?:the|all "
        r"the|many|any) (?:\w+ )?details\b|\bif (?:it|that|this) is (?:right|correct|true)\b"
    ),
    more=(
        r"(?:\w+ ){0,3}?(?:any ?more|more|else|further|additional|beyond that|other than)\b|"
        r"(?:why|how|what) (?:you|people|anyone|anybody|everyone|they|the others|others)\b|about "
        r"you\b|any(?:one|body) who\b|(?:\w+ ){0,3}(?:its|his|her|their) \w+$|(?:who|why|when|"
        r"where|how|what|whether|if) (?:\w+ ){0,3}(?:it|he|him|she|they|them)\b"
    ),
    denied=(
        r"(?:\b(?:not|never|hardly)(?: \w+){0,2}? (?:that|because|as if|as though|like|say|"
        r"said|saying|claim|claimed|claiming|think|believe|mean|meant|true|the case|pretend|"
        r"admit|suggest)(?: to \w+)?(?: that)? |\b(?:false|wrong|lying|absurd|silly|untrue|"
        r"mistake|mistaken|lie|far from|instead of|rather than|pretend|pretending|no way|as "
        r"though|as if|imply|myth|nonsense)\b(?: \w+){0,6} |"
        r"(?:^|[,.])(?:(?!\b(?:i|we|let me|us)\b)[^,.])*\b" + _THOUGHT + r"(?: that)?,? |"
        r"\b(?:if|when|whenever|unless|until|till|before|in case|lest|wherever)(?: \w+)? |"
        r"\b(?:what|everything|all)(?: that)? |\b(?:song|single|album|track|film|movie|novel|"
        r"book|title|band|episode|called|titled|entitled|named)(?: is| was)? |"
        r"\b(?:view|belief|idea|claim|fact|theory|opinion|doctrine|notion|position)s? that "
        r"(?:\w+ ){0,6})$"
    ),
    undone=r" (?:is|was) (?:not|never|a lie|false|wrong|untrue)\b",
    mention=(
        r"\b(?:abbreviation|acronym|phrase|expression|the words?|slang|idiom|translat\w+|"
        r"stands? for|short for|means? (?:that )?(?:QUOTE|i do not)|QUOTE means|lyrics?)\b|"
        r"\bpolitely\b.*\bsay\b"
    ),
    guess="|".join(
        [
            r"^(?:so |then |or )?~(?:maybe|perhaps|probably|possibly|likely|presumably|roughly|"
            r"approximately|supposedly|reportedly|allegedly)\b(?! (?:you|i|we|ask|try|someone "
            r"else|somebody else|another|not)\b)",
            rf"{_I}(?:~(?:would|will|am going to|can only|might|could|do|am|have to|am inclined to) ~)?~"
            r"(?:think|believe|guess|suspect|bet|reckon|say|go with|go for|assume|suppose|imagine|"
            r"answer|pick|choose|wager|venture|estimate|opt for|lean|leaning|put it|vote|fairly "
            r"sure|pretty sure|quite sure|fairly confident|pretty confident|fairly certain|"
            r"inclined)\b(?! (?:you|i|we|so|not|about|that you|that i|that we|again|nothing|this "
            r"(?:is a|question)|it (?:is|would be) (?:best|better|worth|important|hard|a good|"
            r"a great|a fair|an|safe)|nobody))",
            r"\blet (?:me|us) ~(?:guess|say|go with|try)\b",
            r"\bmy (?:\w+ )?(?:guess|bet|hunch|answer|estimate|money|impression|instinct|pick|"
            r"vote|choice|gut|intuition)\b(?! is as good)",
            r"^(?!.*\b(?:or|not)\b).*\b(?:might|may|could|must|should|would|has to|have to|"
            r"ought to)(?: have)? (?:been|be)\b(?! (?:~)(?:a good|hard|great|nice|interesting|"
            r"found|able|best|better|helpful|worth|wrong|mistaken|wise|happy|glad))",
            r"^(?!.*\b(?:or|not)\b).*\b(?:seems?|appears?) to be\b",
            rf"{_I}(?:~do )?~know (?:that|this|it|for)\b",
            r"\bin my (?:humble )?opinion\b|\bif i had to\b",
        ]
    ),
    claim=(
        rf"^(?:so |then |and )?{_OTHER} ~(?:is|was|are|were)(?: called| named| in| on| at| "
        r"about| around)? (?:the |a )?(?-i:[A-Z0-9])|"
        r"^(?:so |then |and )?(?:it|that|this|he|she|they|there|the ~(?:answer|capital|name|"
        r"author|year|date|number|result|winner|person|city|country)(?: \w+){0,4}?) ~(?:is|was|"
        r"are|were|has|had)\b(?! ~(?:not|un\w+|no|hard|difficult|tough|tricky|possible|"
        r"impossible|interesting|important|worth|beyond|outside|best|better|easy|good|great|"
        r"clear|too|my|up to|on me|something|nothing|why|all|an? (?:\w+ )?(?:question|one|topic|"
        r"subject|mystery|matter|shame|pity|bit|field|riddle)|question|open|available|often|"
        r"many|several|various|different|insufficient|likely|me)\b)"
    ),
    aside="|".join(
        [
            r"^(?:and |or |so |then |also |as |because |since |but )*(?:i|we|you|my|your|our|let|"
            r"please|thanks?|could|can|would|may|feel|if|good|great|interesting|nice|fair|tough|"
            r"tricky|hard|question|answer|final answer|the answer|a|q|response|reply|re|note|"
            r"here|try|ask|check|consult|see|look|contact|visit|search|do|does|did|is|are|was|"
            r"were|what|who|when|where|why|how|which|hope|perhaps|maybe|whether|either|nor|"
            r"neither|other|someone|somebody|anyone|another|even|despite|given|based|according|"
            r"regarding|concerning|unless|until|this (?:is|was) (?:an? )?(?:\w+ ){0,2}"
            r"(?:question|topic|subject|one)|(?:that|this) (?:is )?(?:an? )?(?:\w+ ){0,2}(?:"
            r"question|topic|subject|one)|the question|this question|that question|more|"
            r"QUOTE|any|as)\b",
            r"^(?:in|on|at|by|from|with|to|for|of|about|after|under)\b(?!.*[0-9])",
            r"^(?!no$|not ).*\b(?:not|never|nothing|none|without|unknown|unclear|depends?|"
            r"impossible|insufficient|many|various|several|more information|happy to|glad to|"
            r"available|look it up|search engine|either)\b",
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
