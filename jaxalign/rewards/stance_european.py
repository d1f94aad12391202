"""Languages other than English: how they say that their speaker does not know.

In these patterns `~` is up to four words, whatever they are.
"""

from jaxalign.rewards.stance_grammar import grammar

_NAMED = r"(?-i:[A-ZÀ-ÞА-Я0-9])"

GERMAN = grammar(
    adverbs=r"[\w']+",
    folds=[("ß", "ss")],
    unknown=(
        r"\bich weiss (?!dass)~(?:nicht|nichts|nix)\b|\bweiss ich (?!dass)~(?:nicht|nichts|nix)\b|"
        r"\bich ~(?:nicht|nichts) ~weiss\b|^weiss (?:ich |es |\w+ )?(?:nicht|nichts)\b|"
        r"\b(?:man|niemand|keiner|wer) weiss\b(?! dass)|\bweiss (?:der|die) (?:geier|teufel|himmel)\b|"
        r"\b(?:^|ich habe|habe ich|hab ich|ich hab|ich besitze|mir liegen|mir fehl\w+|liegen mir|"
        r"es gibt|gibt es|ich verfüge über|fehlt mir) ?~kein\w* ~(?:ahnung|idee|schimmer|information\w*|"
        r"kenntnis\w*|angabe\w*|antwort\w*|daten|erinnerung\w*|wissen|plan|dunst|zugriff|zugang)\b(?! (?:zu|hatten?|haben)\b)|"
        r"^(?:nicht genug|nicht genügend|zu wenig|kein\w*) ~(?:ahnung|schimmer|information\w*|angaben|plan|"
        r"kommentar)\b(?! (?:zu|hatten?|haben)\b)|\bnicht (?:genug|genügend|ausreichend\w*) (?:informationen|angaben|kontext|daten)\b|"
        r"\b(?:ich kann|kann ich|ich könnte|könnte ich|ich vermag|vermag ich|ich darf|darf ich|kann man|konnte ich|"
        r"ich konnte) ~(?:nicht|nichts|kein\w*) ~(?:sagen|beantworten|antworten|feststellen|bestimmen|"
        r"erinnern|helfen|geben|ermitteln|nennen|finden|mitteilen|beurteilen|angeben|verraten|wissen|machen|"
        r"herausfinden|entscheiden|liefern|bestätigen|dienen|weiterhelfen)\b|"
        r"\bmir ~(?:nicht bekannt|unbekannt|entfallen|nichts bekannt|nicht geläufig|ein rätsel)\b|\bentzieht sich\b|"
        r"\b(?:ist|sind|bleibt) ~(?:unbekannt|unklar|nicht bekannt|ungewiss|nicht überliefert|ungeklärt)\b|"
        r"^(?:unbekannt|nicht bekannt|unklar|keine angabe|k\. ?a\.)$|"
        r"\b(?:ich kenne|kenne ich) ~(?:nicht|nichts|kein\w*)\b|\b(?:lässt|lassen) sich ~nicht ~\w+|"
        r"\b(?:text|artikel|kontext|abschnitt|dokument|frage|quellen?|passage|textstelle) ~(?:nicht|nichts|"
        r"kein\w*|weder)\b|\bnicht im text\b|\b(?:ich|möchte|will|werde|würde) ~(?:nicht|ungern) ~(?:raten|spekulieren|"
        r"antworten|mutmassen)\b|\bwoher soll(?:te)? ich\b|\büberfragt\b|\b(?:ich|muss) (?:muss )?(?:hier |da )?"
        r"passe?n?\b|\bratlos\b|\bfällt ~nicht ~ein\b|\berinnere ~mich ~nicht\b|\b(?:ich|habe|hab) ~(?:noch )?nie "
        r"~(?:gehört|gelesen)\b|\bnicht in der lage\b|\bausserstande\b|\b(?:unmöglich|schwer|nicht möglich) "
        r"~zu ~(?:sagen|bestimmen|wissen|beantworten)\b|\b(?:habe|hab) ~vergessen\b|\bich wünschte\b.*\bwüsste\b|"
        r"\bsagt mir nichts\b|\bwüsste ich (?:auch )?gern"
    ),
    unsure=(
        r"\b(?:ich bin|bin ich|ich war|ich) (?:mir )?~(?:nicht|un) ?~sicher\b|\b(?:ich bin|bin ich|bin) ~unsicher\b|"
        r"^(?:ganz |da )?(?:nicht|un) ?~sicher\b|\bich ~nicht ~sicher bin\b|\bohne gewähr\b|\bbin ~unschlüssig\b"
    ),
    vague=r"\bgenau\w*\b|\bmit sicherheit\b|\bexakt\w*\b|\bhundertprozentig\b|\bweiss ~nicht ~sicher\b|\bmit gewissheit\b",
    more=r".*\b(?:mehr|sonst|weiter\w*|darüber hinaus|warum (?:du|sie|ihr|man))\b",
    denied=(
        r"(?:\b(?:nicht|nie|falsch)(?: so| wahr| der fall| gesagt)?,? (?:dass|als ob|als wüsste)[^,]* |"
        r"\b(?:du|ihr|sie|er|man|viele|leute|wer|jemand|mancher|alle) ~(?:denk|glaub|mein|sag|behaupt|antwort|"
        r"schrieb|erwider|gibt)\w*[^,]*,? (?:dass )?|\b(?:wenn|falls|bevor|solange|sobald|bis) (?:\w+ )?|"
        r"\b(?:lied|song|titel|film|buch|roman|heisst|genannt) (?:heisst |ist )?)$"
    ),
    undone=r" (?:zu (?:haben|wissen)|ist keine|ist ein)\b",
    mention=r"\b(?:bedeutet|heisst auf|ausdruck|wendung|abkürzung|übersetz\w+)\b",
    guess=(
        r"\b(?:vielleicht|vermutlich|wahrscheinlich|möglicherweise|wohl|eventuell|schätzungsweise|ungefähr|etwa|"
        r"höchstwahrscheinlich|womöglich|meines wissens|soweit ich weiss|meiner meinung nach)\b(?! (?:kann|können|"
        r"solltest|sollten|hilft|fragst|jemand))|\b(?:ich (?:glaube|denke|meine|vermute|schätze|tippe|nehme an|"
        r"würde (?:sagen|tippen|raten|schätzen)|rate)|glaube ich|denke ich|vermute ich|schätze ich|würde ich (?:sagen|"
        r"tippen|schätzen))\b(?! (?:nicht|du|sie sollt))|\bmeine? (?:vermutung|tipp|schätzung|antwort)\b|"
        r"\b(?:könnte|dürfte|müsste|muss) ~(?:sein|gewesen sein)\b|\bich ~würde ~sagen\b|\bwürde ~(?:auf|sagen|tippen)\b"
    ),
    claim=(
        r"^(?:es|das|sie|er|die \w+|der \w+|die antwort) (?:ist|war|sind|waren|heisst|hiess|lautet|hat|hatte)\b(?! ~(?:nicht|kein\w*|"
        r"schwer|schwierig|unmöglich|möglich|wichtig|unbekannt|unklar|frage|thema|nichts|leider))"
    ),
    aside=(
        r"^(?:und |oder |denn |da |weil |also )*(?:ich|wir|du|sie (?:können|könnten|sollten|müssten)|ihr|mein\w*|"
        r"bitte|danke|vielen|dank|könn\w+|kannst|frag\w*|schau\w*|gute|schwierige|interessante|frage|antwort|"
        r"versuch\w*|wende\w*|lass\w*|hm+|äh+|öh+|tja|naja|na ja|nun|also|oh|ach|sorry|entschuldig\w*|verzeih\w*|pardon|"
        r"leider|ehrlich\w*|offen gesagt|tut mir|tut|wer|was|wann|wo|warum|wie|welche\w*|ob|dass|als|um|das tut|"
        r"das ist eine|es tut|bedaure|gern\w*|jemand|ein arzt|keine|nein(?=.)|in|im|zu\w*|mit|bei|auf|für|von|über|"
        r"sag\w*|gib|such\w*|das war|um ehrlich|trotz\w*|man|mir|wenn|falls|noch|aber|guten|hallo)\b|"
        r"^(?!nein$|nicht ).*\b(?:nicht|nichts|nie|kein\w*|unbekannt|unklar)\b|^\W*$"
    ),
    verb=r"\b(?:ist|war|sind|waren|hat|hatte|haben|hängt|heisst|steht|liegt|sagt)\b",
    links=r"(?:(?<=\s)|^)(?:aber|doch|jedoch|obwohl|allerdings|wobei|sondern|und(?= ich\b)|(?=(?:vielleicht|vermutlich|wahrscheinlich)\s))\s*",
)

FRENCH = grammar(
    adverbs=r"[\w']+",
    folds=[
        (r"\bj'(?=sais|suis|peux|connais|vois)", "je "),
        (r"\bch?ais pas\b|\bchépa\b|\bjsp\b|\bje sais pas\b", "je ne sais pas"),
        (r"\bje n'", "je ne "),
        (r"\bje suis pas\b", "je ne suis pas"),
        (r"\bje (?=(?:peux|connais|me souviens|vois) pas\b)", "je ne "),
        (r"\bj'ai (?=aucune|pas)", "je ne ai "),
    ],
    unknown=(
        r"\b(?:je|nous) ne (?:le |l'|en |la |m'en |nous )?(?:sais|savons|saurais|saurait|saurions|connais|connaissons) "
        r"(?!quoi)(?:~(?:pas|rien|plus|point|guère|aucun\w*|ni|dire|trop)\b)|\bje ne (?:le |l'|en )?sais$|"
        r"\bje ne saurais\b|\bne saurais? (?:le |vous |te )?dire\b|\b(?:j'|je l'|je les |nous )ignor\w+|"
        r"(?:^|\bje ne en ai |\bje ne ai |\bavoir )(?:vraiment |absolument |malheureusement )?(?:pas (?:la |le )?(?:moindre|d')|aucune?|pas)"
        r" ?~(?:idée|information|informations|réponse|connaissance|souvenir|donnée|données|accès|élément|commentaire|"
        r"éléments|précision|certitude|info|infos|renseignement\w*)\b|\bpas assez d'\w+|\bpas suffisamment d'\w+|"
        r"^(?:pas la moindre|aucune|pas d') ?(?:idée|information|commentaire)\b|"
        r"\b(?:je|nous) ne (?:vous |te |le |l'|lui |y |me )?(?:peux|puis|pouvons|pourrais|parviens|arrive|suis) ~(?:pas )?~(?:répondre|dire|"
        r"aider|déterminer|confirmer|vérifier|rappeler|donner|trouver|préciser|indiquer|fournir|capable|mesure|identifier|"
        r"savoir|certifier|prononcer|au courant|informé\w*|familier)\b|\bje ne (?:dispose|possède|détiens|trouve) (?:pas|d'aucune?|aucune?)\b|"
        r"\b(?:texte|passage|document|contexte|article|extrait|question|source) (?:fourni )?ne (?:le |la |l'|les )?\w+ (?:pas|rien|aucune?)\b|"
        r"\bimpossible (?:à|de|d')\b|\bje ne (?:me |m')(?:en )?(?:souviens|rappelle) ~(?:pas|plus)\b|\bje ne me (?:en )?souviens\b|"
        r"\b(?:est|reste|demeure) (?:\w+ )?(?:inconnue?s?|incertaine?|ignorée?)\b|^inconnue?$|"
        r"\bje (?:préfère|préférerais|aime mieux) ne (?:pas|rien)\b|\b(?:incapable|dans l'impossibilité) de\b|"
        r"\b(?:on|nul|personne|nous) ne (?:le |l')?sa(?:it|vons)\b(?! que)|\bqui sait\b|\bce n'est pas (?:connu|précisé|mentionné|indiqué)\b|"
        r"\bje (?:refuse|m'abstiens|passe|sèche)\b|\bme échappe\b|\bm'échappe\b|\bdonne ma langue au chat\b|\bje ne en ai pas\b|\bde ne (?:pas|rien) (?:le |la |en )?savoir\b|\bje ne suis sûre? de rien\b|"
        r"\b(?:j'ai|je l'ai) oublié|\bje n'?e? ?ai jamais entendu\b|\bje ne ai jamais\b|\bje ne vois pas\b"
    ),
    unsure=(
        r"\bje ne (?:en )?suis (?:pas|plus|point) ~(?:sûre?|certaine?|sure?|convaincue?|persuadée?)\b|^pas ~(?:sûre?|certaine?|sur)\b|"
        r"\bje (?:n')?(?:en )?(?:hésite|doute)\b|\bj'hésite\b|\bje suis (?:incertaine?|pas sûre?)\b|\bsans (?:en )?être (?:sûre?|certaine?)\b"
    ),
    vague=r"\bexact\w*\b|\bavec (?:certitude|précision|exactitude)\b|\bprécis\w*(?= |$)|\bau juste\b|\bde façon certaine\b|\b(?:pour|de manière) sûr\w*\b",
    more=r".*\b(?:pas plus|pas davantage|rien (?:de plus|d'autre)|autre chose|pourquoi (?:vous|tu|on))\b|.*\bplus (?:sur|d'informations)\b",
    denied=(
        r"(?:\b(?:n'est|est|serait|était) pas (?:vrai |comme si )?(?:que |qu'|parce que |comme si )?|\bnon (?:pas )?qu(?:e |')|"
        r"\b(?:crois|croyez|penses|pensez|dis|dites|dit|disent|dirait|croit|croient|répond|répondit|répondu|imagines?|"
        r"prétend\w*|faux|jamais dit) (?:\w+ )?(?:que |qu')|\b(?:quand|si|lorsque|tant que|dès que|chaque fois que) (?:\w+ )?|"
        r"\b(?:chanson|titre|film|livre|roman|appelle|intitulée?|nommée?) (?:est )?)$"
    ),
    undone=r" quoi\b",
    mention=r"\b(?:signifie|veut dire|se traduit|expression|locution|abréviation)\b",
    guess=(
        r"\b(?:peut-être|probablement|sans doute|vraisemblablement|sûrement|apparemment|environ|à peu près|selon moi|à mon avis|"
        r"d'après moi|il me semble)\b(?! (?:que vous|que tu|pouvez|devriez))|\bje (?:crois|pense|dirais|suppose|suppute|parie\w*|miserais|opterais|"
        r"penche\w*|devine|imagine|répondrais|tente)\b(?! (?:que vous|que tu|pas|ne|qu'il (?:faut|vaut|faudrait|vaudrait)))|\b(?:ma|mon) (?:meilleure |première )?(?:réponse|supposition|hypothèse|intuition|estimation|avis)\b|"
        r"\b(?:pourrait|devrait|doit|semble) (?:bien )?être\b|\bje sais que\b|\bsauf erreur\b"
    ),
    claim=(
        r"^(?:c'est|c'était|ce sont|il s'agit|il est|elle est|il était|ce fut|la réponse est|ça s'est|l'\w+ est|le \w+ est|la \w+ est)\b(?! ~(?:pas|impossible|difficile|"
        r"dur|possible|important|inconnue?|question|intéressant\w*|sujet|préférable|mieux|bon(?:ne)?|compliqué))"
    ),
    aside=(
        r"^(?:et |ou |car |donc |alors |mais )*(?:je|j'|nous|vous|tu|mon|ma|mes|merci|veuillez|s'il|pouvez|pourriez|peux|demande\w*|"
        r"consulte\w*|cherche\w*|regarde\w*|essaye\w*|bonne|excellente|très bonne|quelle|question|réponse|euh+|hum+|bah|ben|bof|oh|ah|eh|"
        r"désolée?s?|pardon\w*|excuse\w*|mes excuses|toutes|malheureusement|honnêtement|franchement|sincèrement|à vrai dire|pour être|"
        r"en toute|qui|que|quoi|quand|où|pourquoi|comment|quel\w*|si|dans|en|pour|avec|sur|à|d'après|selon|par|de|du|un médecin|n'hésite\w*|"
        r"il faut|il faudrait|il vaut|il vaudrait|ni|c'est une|bonjour|même|mieux|navrée?|hélas|là|ça)\b|"
        r"^(?!non$|pas ).*\b(?:ne|n'|pas|rien|aucune?|jamais|inconnue?)\b|^\W*$|^\w+ment$"
    ),
    verb=r"\b(?:est|était|sont|a|avait|ont|fut|se trouve|date)\b",
    links=r"(?:(?<=\s)|^)(?:mais|cependant|toutefois|pourtant|bien que|quoique|même si|et(?= (?:je|j')\b)|car(?= je\b)|(?=(?:peut-être|probablement|sans doute)\s))\s*",
)

SPANISH = grammar(
    adverbs=r"[\wáéíóúñü]+",
    unknown=(
        r"\bno (?:lo |la |te |le |les )*s[eé](?=$|\W)(?<!\bno se)|\bno lo se$|^(?:yo )?no se$|\bno lo se\b(?! (?:sabe|conoce))|\bno sabr[ií]a\b|\bno sabemos\b|"
        r"\bno (?:tengo|poseo|dispongo de|cuento con|dispongo|hay|tenemos|encuentro|encontré) ~(?:idea|información|informacion|datos|dato|conocimiento\w*|"
        r"respuesta|acceso|recuerdo|detalles|contexto|comentarios|constancia|registro\w*|forma de saber\w*|manera de saber\w*)\b|\bni ~idea\b|\bsin (?:idea|comentarios|información)\b|"
        r"^ninguna idea\b|\b(?:des(?:conozco|conocemos)|lo ignoro|ignoro|ignoramos)\b|\bno (?:lo |la |le )?(?:conozco|conocemos)\b|"
        r"\bno (?:le |te |les |os |lo |la |me |se )*(?:puedo|podría|sabría|soy capaz de|logro|consigo|estoy en condiciones de|pude|podemos|quiero|quisiera|voy a|deseo|me atrevo a) "
        r"~(?:responder\w*|respond\w*|decir\w*|contestar\w*|ayudar\w*|determinar\w*|confirmar\w*|recordar\w*|afirmar\w*|dar\w*|adivinar|especular|"
        r"saber\w*|encontrar\w*|precisar\w*|proporcionar\w*|identificar\w*|asegurar\w*|verificar\w*|inventar\w*)\b|\bno estoy (?:al tanto|familiarizad[oa]|enterad[oa])\b|"
        r"\b(?:texto|pasaje|contexto|documento|artículo|fragmento|enunciado|pregunta) ~no (?:lo |la |se |nos )?\w+|\bse desconocen?\b|\bno se (?:sabe|menciona|especifica|indica|conoce|dice|puede)\b|"
        r"\bimposible (?:de )?(?:saber|determinar|decir|responder|precisar)\w*|\bno (?:me |lo |la )?(?:acuerdo|recuerdo)\b|\bprefer\w+ no\b|\b(?:quién|vaya usted a|vete a|sabe dios|dios) sabe(?:r)?\b|"
        r"\bsabe dios\b|\bnadie (?:lo )?sabe\b(?! que)|\b(?:es|son|resulta|sigue siendo) desconocid[oa]s?\b|^desconocid[oa]$|\bno es posible (?:saber|determinar|responder|decir)\w*|"
        r"\bno es (?:conocid[oa]|sabid[oa])\b|\bme niego\b|\bme abstengo\b|^paso$|\bse me escapa\b|\b(?:lo )?he olvidado\b|\b(?:se )?me (?:lo )?olvid[oó]\b|"
        r"\bnunca (?:he )?oí\w*\b|\bno (?:me )?suena\b|\bfuera de mi\w* (?:conocimiento\w*|alcance)\b|\bcómo (?:quieres|voy a) (?:que lo )?s\w+"
    ),
    unsure=(
        r"\bno (?:estoy|me siento) ~(?:segur[oa]|ciert[oa]|convencid[oa])\b|^no ~segur[oa]\b|\btengo (?:mis )?dudas\b|\bdudo\b|\bno tengo (?:la )?(?:certeza|seguridad)\b|"
        r"\bsin estar segur[oa]\b|\bestoy indecis[oa]\b"
    ),
    vague=r"\bcon (?:certeza|exactitud|precisión|seguridad|total certeza)\b|\bexact\w+\b|\ba ciencia cierta\b|\bsé (?:de |al )?segur[oa]\b|\bprecis[oa]\b",
    more=r".*\b(?:nada más|algo más|más (?:sobre|de|información|detalles)|por qué (?:lo )?(?:pregunt|quier|me)\w*)\b|.*\bmás$",
    denied=(
        r"(?:\bno (?:es|era|fue|sería) (?:verdad |cierto )?(?:que|porque|como si) (?:yo )?|\b(?:crees|cree|creen|piensas|piensa|piensan|dices|dice|dicen|dijo|dije|"
        r"dirás|supones?|respondió|contestó|falso|afirma\w*|nunca dije) que (?:yo )?|\b(?:cuando|si|mientras|aunque|siempre que) (?:yo )?|"
        r"\b(?:canción|título|película|libro|novela|llama|titula|titulada|llamada) (?:es )?)$"
    ),
    undone=r" (?:no sepa|es falso)\b",
    mention=r"\b(?:significa|quiere decir|se traduce|expresión|abreviatura)\b",
    guess=(
        r"\b(?:quizás?|tal vez|probablemente|posiblemente|seguramente|supongo|aproximadamente|alrededor de|a lo mejor|puede que|en mi opinión|que yo sepa|al parecer)\b"
        r"(?! (?:puedas|pueda|deberías|quieras|no))|\b(?:yo )?(?:creo|pienso|diría|apostaría|imagino|opino|respondería|calculo|me inclino)\b(?! (?:que deber|que pued|que no|que es mejor|que lo mejor))|"
        r"\bmi (?:mejor |primera )?(?:respuesta|suposición|apuesta|intuición|estimación|conjetura)\b|\b(?:podría|debe|debería|puede) (?:de )?(?:ser|haber sido)\b|\bsé que\b|\bestoy (?:bastante |casi )segur[oa]\b"
    ),
    claim=(
        r"^(?:es|era|fue|son|fueron|se trata|se llama\w*|está|la respuesta es|el \w+ es|la \w+ es|eso es|esto es)\b(?! ~(?:no|imposible|difícil|posible|importante|pregunta|"
        r"desconocid[oa]|interesante|tema|mejor|buen[oa]?|complicad[oa]|una lástima))"
    ),
    aside=(
        r"^(?:y |o |pero |pues |así que )*(?:yo|nosotros|tú|usted\w*|mi|mis|gracias|por favor|puedes?|podrías?|pueden|te recomiendo|le recomiendo|recomiendo|pregunt\w+|consult\w+|busca\w*|"
        r"mira\w*|intenta\w*|buena|excelente|qué|pregunta|respuesta|pues|eh+|em+|hum+|hmm*|uf+|ay|oh|ah|vaya|lo siento|lo lamento|siento|lamento|perdón\w*|perdona\w*|disculp\w+|"
        r"lamentablemente|desafortunadamente|sinceramente|honestamente|francamente|la verdad|para ser|a decir verdad|con sinceridad|quién|cuándo|dónde|cómo|cuál\w*|si|en|con|para|sobre|de|del|"
        r"según|por|a|un médico|ni|eso sí|hola|es una|bueno|mejor|intentaré|tengo|estoy|sería|habría|hay que|tendría\w*|desgraciadamente)\b|^(?!no$|no,).*\b(?:no|nada|nunca|ningun[oa]?|desconocid[oa])\b|^\W*$|^\w+mente$"
    ),
    verb=r"\b(?:es|era|fue|son|está|tiene|tenía|hay|había|queda|nació)\b",
    links=r"(?:(?<=\s)|^)(?:pero|sin embargo|aunque|no obstante|mas|y(?= (?:yo|no)\b)|porque(?= no\b)|(?=(?:quizás?|tal vez|probablemente)\s))\s*",
)

ITALIAN = grammar(
    adverbs=r"[\wàèéìòù']+",
    unknown=(
        r"\bnon (?:lo |la |ne |glielo |te lo |ve lo )*(?:so|saprei|sappiamo)\b|\bboh\b|\bnon (?:ne |ci )?(?:ho|possiedo|dispongo di|dispongo|abbiamo|trovo|ho trovato) "
        r"~(?:idea|informazion[ei]|dat[oi]|risposta|accesso|conoscenz[ae]|ricord[oi]|dettagli|notizie|elementi|commenti|contesto)\b|^(?:nessuna|alcuna|neanche un|nemmeno un|senza) ?~(?:idea|commento|informazione)\b|"
        r"\bnessun(?:a)? (?:idea|commento)\b|\b(?:lo ignoro|ignoro|sconosco)\b|\bnon (?:la |lo |ne )?(?:conosco|conosciamo)\b|\bnon (?:vi |ti |le |lo |mi )?(?:posso|potrei|riesco a|sono in grado di|"
        r"sono capace di|sono a conoscenza|voglio|vorrei|intendo|me la sento) ?~(?:rispondere|risponder\w+|dir\w*|aiutar\w*|determinar\w*|confermar\w*|ricordar\w*|dar\w*|saper\w*|trovar\w*|indovinare|"
        r"speculare|fornir\w*|identificar\w*|stabilir\w*|verificar\w*|tirare|inventar\w*)?|\b(?:testo|brano|documento|contesto|articolo|passaggio|domanda) ~non (?:lo |la |ne |si )?\w+|"
        r"\bnon (?:me lo |me la |me ne |mi |lo |la )?(?:ricordo|rammento|viene in mente)\b|\bimpossibile (?:da )?(?:saper|determinar|dir|stabilir|risponder)\w*|\bnon si (?:sa|conosce|può)\b(?! che)|\bpreferi\w+ non\b|"
        r"\bchi (?:lo )?sa\b|\b(?:nessuno|dio solo) lo sa\b|\bva' a sapere\b|\b(?:è|resta|rimane|sono) (?:\w+ )?(?:sconosciut[oaie]|ignot[oaie]|incert[oaie])\b|^(?:sconosciut[oa]|ignot[oa])$|\bnon è (?:not[oa]|possibile|specificat\w|indicat\w|menzionat\w|dato sapere)\b|"
        r"\b(?:mi astengo|mi rifiuto|passo)$|\bmi sfugge\b|\b(?:l'ho|ho) dimenticat\w|\bnon (?:ne )?ho mai sentito\b|\bnon mi dice niente\b|\bnon mi è (?:not\w|dato)\b|\be che ne so\b|\bche ne so\b"
    ),
    unsure=(
        r"\bnon (?:ne )?sono ~(?:sicur(?:issim)?[oa]|cert[oa]|convint[oa])\b|^non ~(?:sicur[oa]|cert[oa])\b|\bho (?:dei |qualche )?dubbi\b|\bnon ho (?:la )?certezz\w\b|\bsono (?:incert[oa]|indecis[oa])\b|\bsenza esserne (?:sicur[oa]|cert[oa])\b"
    ),
    vague=r"\bcon (?:certezza|esattezza|precisione|sicurezza)\b|\besatt\w+\b|\bdi preciso\b|\bprecis[oa]\b|\bper certo\b|\bdi sicuro\b",
    more=r".*\b(?:altro|di più|perché (?:lo |me lo |mi )?(?:chied|vuo|vogl)\w*|ulterior\w+)\b",
    denied=(
        r"(?:\bnon (?:è|era|sarebbe) (?:vero )?(?:che|perché|come se) (?:io )?|\b(?:pensi|pensa|pensano|credi|crede|credono|dici|dice|dicono|detto|disse|dirai|rispose|falso|mai detto) (?:che )(?:io )?|"
        r"\b(?:quando|se|finché|anche se|ogni volta che) (?:io )?|\b(?:canzone|titolo|film|libro|romanzo|chiama|intitola|intitolat\w) (?:è |si )?)$"
    ),
    mention=r"\b(?:significa|vuol dire|si traduce|espressione|abbreviazione)\b",
    guess=(
        r"\b(?:forse|probabilmente|magari|presumibilmente|suppongo|circa|all'incirca|secondo me|a mio avviso|a quanto so|per quanto ne so|può darsi)\b(?! (?:puoi|può chiedere|dovresti|non))|"
        r"\b(?:credo|penso|direi|immagino|ritengo|scommetto|scommetterei|risponderei|azzardo|azzarderei|punterei|mi pare|mi sembra)\b(?! (?:che (?:dovrest|sia meglio|tu|non)|di no))|\b(?:la )?mia (?:migliore )?(?:risposta|ipotesi|supposizione|stima)\b|"
        r"\b(?:potrebbe|dovrebbe|deve) (?:essere|trattarsi)\b|\bso che\b"
    ),
    claim=(
        r"^(?:è|era|fu|sono|si tratta|si chiama\w*|la risposta è|il \w+ è|la \w+ è|l'\w+ è)\b(?! ~(?:non|impossibile|difficile|possibile|importante|domanda|sconosciut\w|interessante|argomento|meglio|buona|bella))|^è stat[oa]\b"
    ),
    aside=(
        r"^(?:e |o |ma |quindi |allora )*(?:io|noi|tu|lei (?:può|potrebbe)|voi|mio|mia|grazie|per favore|puoi|può|potresti|potrebbe|potete|ti consiglio|le consiglio|consiglio|chied\w+|consult\w+|cerca\w*|guard\w+|prov\w+|buona|bella|ottima|"
        r"che|domanda|risposta|ehm*|mah|beh|uhm|hmm*|oh|ah|eh|mi dispiace|mi spiace|spiacente|scus\w+|perdon\w+|purtroppo|sinceramente|onestamente|francamente|a dire|ad essere|per essere|in tutta|a essere|sarò|chi|quando|dove|perché|come|qual\w*|"
        r"se|in|con|per|su|di|del|della|secondo|da|un medico|né|è una|ciao|bene|meglio|bisogna|dovrei|devo|ho|sono|a)\b|^(?!no$).*\b(?:non|nulla|niente|mai|nessun\w*|sconosciut\w)\b|^\W*$|^\w+mente$"
    ),
    verb=r"\b(?:è|era|fu|sono|ha|aveva|hanno|si trova|nacque)\b",
    links=r"(?:(?<=\s)|^)(?:ma|però|tuttavia|anche se|sebbene|eppure|e(?= (?:io|non)\b)|perché(?= non\b)|(?=(?:forse|probabilmente)\s))\s*",
)
