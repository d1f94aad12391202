"""Portuguese, Dutch, Russian, Chinese, Japanese: how they say "I don't know".

In the first three `~` is up to four words, whatever they are. In Chinese and Japanese,
which set no blanks, what says so begins the clause, but for adverbs and courtesies.
"""

from jaxalign.rewards.stance_grammar import grammar

PORTUGUESE = grammar(
    adverbs=r"[\wáéíóúâêôãõç]+",
    folds=[(r"\bnao\b", "não")],
    unknown=(
        r"\bnão (?:o |lhe |te )*(?:sei|saberia|sabemos)\b|\b(?:receio|temo) (?:que )?(?:eu )?não (?:saiba|saber|posso|possa)\b|\b(?:eu )?sei lá\b|\bnão (?:faço|fazemos) (?:a )?(?:menor |mínima )?ideia\b|\bnão (?:tenho|possuo|disponho de|temos|encontrei|encontro|há) "
        r"~(?:ideia|informaç\w+|dados|resposta|acesso|conhecimento\w*|lembrança|detalhes|contexto|comentários|registros?|registos?|como saber|noção)\b|\b(?:nem|sem|nenhuma) (?:a menor |a mínima |faço )?(?:ideia|noção|comentários)\b|"
        r"\b(?:desconheço|desconhecemos|ignoro)\b|\bnão (?:o |a )?conheço\b|\bnão (?:lhe |te |vos |me |o |a )?(?:posso|poderia|consigo|consegui|sou capaz de|quero|gostaria de|vou|pude|podemos|me arrisco a) "
        r"~(?:responder\w*|dizer\w*|ajudar\w*|ajudá\w*|determinar\w*|confirmar\w*|lembrar\w*|afirmar\w*|dar\w*|adivinhar|especular|saber\w*|encontrar\w*|fornecer\w*|identificar\w*|verificar\w*|inventar\w*|informar\w*)\b|"
        r"\b(?:texto|passagem|contexto|documento|artigo|trecho|pergunta) ~não (?:o |a |se )?\w+|\bnão (?:me )?(?:lembro|recordo)\b|\bimpossível (?:de )?(?:saber|determinar|dizer|responder)\w*|\bnão se (?:sabe|conhece)\b|\bprefi\w+ não\b|"
        r"\b(?:quem|deus|só deus) sabe\b|\bninguém sabe\b(?! que)|\b(?:é|são|permanece|continua) (?:\w+ )?desconhecid[oa]s?\b|^desconhecid[oa]$|\bnão é (?:conhecid\w|possível (?:saber|determinar|dizer|responder)\w*|mencionad\w)|"
        r"\bnão (?:está|estou) (?:\w+ )?(?:mencionad\w|a par|familiarizad\w|ciente)|\b(?:recuso-me|abstenho-me|me abstenho|me recuso)\b|^passo$|\bme (?:escapa|foge)\b|\b(?:já )?(?:me )?esqueci\b|\bnunca ouvi\b|\bfora do meu (?:conhecimento|alcance)\b"
    ),
    unsure=(
        r"\bnão (?:estou|me sinto|tô) ~(?:cert[oa]|segur[oa]|convencid[oa])\b|^não ~(?:cert[oa]|segur[oa])\b|\bnão tenho (?:a )?~(?:certeza|segurança)\b|^sem certeza\b|\btenho (?:as minhas |minhas )?dúvidas\b|\bestou (?:em dúvida|indecis[oa])\b"
    ),
    vague=r"\bao certo\b|\bcom (?:certeza|exatidão|precisão|segurança)\b|\b(?:exa|exac)t\w+\b|\bprecis[oa]\b|\bde certeza\b",
    more=r".*\b(?:mais nada|nada mais|mais (?:sobre|informaç\w+|detalhes)|por ?que (?:você |tu |me |o senhor |a senhora )?(?:pergunt|quer|est)\w*)\b|.*\bmais$",
    denied=(
        r"(?:\bnão (?:é|era|seria) (?:verdade )?(?:que|porque|como se) (?:eu )?|\b(?:acha|achas|acham|pensa|pensas|pensam|crê|acredita\w*|diz|dizes|dizem|disse|dirá|respondeu|falso|nunca disse) que (?:eu )?|"
        r"\b(?:quando|se|enquanto|embora|sempre que) (?:eu )?|\b(?:música|canção|título|filme|livro|romance|chama-se|se chama|intitulad\w|chamad\w) (?:é )?)$"
    ),
    mention=r"\b(?:significa|quer dizer|traduz-se|expressão|abreviatura)\b",
    guess=(
        r"\b(?:talvez|provavelmente|possivelmente|presumivelmente|suponho|cerca de|aproximadamente|na minha opinião|que eu saiba|se não me engano|parece-me|me parece|creio)\b(?! (?:possa|você|deva|não))|"
        r"\b(?:eu )?(?:acho|penso|creio|acredito|diria|imagino|suponho|apostaria|aposto|responderia|chutaria|chuto|arriscaria|arrisco)\b(?! (?:que (?:dev|pod|não|é melhor|o melhor|você)|melhor|que não))|"
        r"\b(?:meu|minha|o meu|a minha) (?:melhor )?(?:palpite|resposta|suposição|estimativa|aposta|chute)\b|\b(?:poderia|deve|deveria|pode) (?:ser|ter sido)\b|\bsei que\b"
    ),
    claim=(
        r"^(?:é|era|foi|são|foram|trata-se|chama-se|se chama\w*|fica|a resposta é|o \w+ é|a \w+ é)\b(?! ~(?:não|impossível|difícil|possível|importante|pergunta|desconhecid\w|interessante|tema|melhor|bo[ma]|uma pena))"
    ),
    aside=(
        r"^(?:e |ou |mas |pois |então )*(?:eu|nós|tu|você\w*|meu|minha|obrigad[oa]|por favor|pode|poderia|podes|recomendo|sugiro|pergunt\w+|consult\w+|procur\w+|veja|olhe|tente|boa|ótima|excelente|que|pergunta|resposta|hum+|hmm*|ah|oh|eh|bem|bom|"
        r"desculp\w+|lamento|perdão|peço|sinto|infelizmente|sinceramente|honestamente|francamente|na verdade|para ser|a verdade|com toda|quem|quando|onde|como|qual\w*|se|em|no|na|com|para|sobre|de|do|da|segundo|por|um médico|nem|é uma|olá|"
        r"melhor|seria|tenho|estou|vou|gostaria|lastimo|há que|talvez (?:possa|você))\b|^(?!não$).*\b(?:não|nada|nunca|nenhum\w*|desconhecid\w)\b|^\W*$|^\w+mente$"
    ),
    verb=r"\b(?:é|era|foi|são|está|tem|tinha|há|fica|nasceu)\b",
    links=r"(?:(?<=\s)|^)(?:mas|porém|contudo|todavia|no entanto|embora|e(?= (?:eu|não)\b)|porque(?= não\b)|(?=(?:talvez|provavelmente)\s))\s*",
)

DUTCH = grammar(
    adverbs=r"[\w']+",
    unknown=(
        r"\bik ~?weet ~(?:niet|niets|niks)\b|\bweet ik ~(?:niet|niets|niks)\b|^weet (?:ik )?(?:het )?niet\b|\bik ~(?:niet|niets) ~weet\b|\b(?:zou|zou ik) ~niet ~weten\b|\b(?:^|ik heb|heb ik|ik heb er|er is|mij ontbreekt) ?(?:\w+ ){0,3}?geen ~(?:idee|flauw benul|benul|informatie|gegevens|kennis|antwoord|"
        r"toegang|herinnering|weet van|commentaar)\b(?! (?:hebben|te hebben))|\b(?:ik kan|kan ik|ik kon|ik mag|kunnen we) ~(?:niet|geen|niets) ~(?:zeggen|beantwoorden|antwoorden|bepalen|herinneren|helpen|geven|vinden|bevestigen|vaststellen|noemen|achterhalen|beoordelen)\b|"
        r"\b(?:is|zijn|blijft) ~(?:onbekend|niet bekend|onduidelijk|onzeker)\b|^onbekend$|\bik ken ~niet\b|\b(?:tekst|artikel|context|passage|document) ~(?:niet|niets|geen)\b|\bniet ~(?:te zeggen|te bepalen|vast te stellen|te weten)\b|\bik ~(?:liever niet|wil niet) ~(?:gok\w*|antwoord\w*|gissen|zeg\w*|raden)\b|"
        r"\b(?:herinner|herinneren) ~niet\b|\b(?:wie|niemand|joost|geen mens) (?:zal het )?~?weet\b|\bonmogelijk ~te\b|\bmoet ik ~schuldig blijven\b|\b(?:ben|heb) ~vergeten\b|\bniet in staat\b|\bniet genoeg (?:informatie|gegevens)\b|\bzegt me niets\b|\bnooit van gehoord\b"
    ),
    unsure=r"\b(?:ik ben|ben ik) ~niet ~zeker\b|^niet ~zeker\b|\bik ~niet ~zeker ben\b|\bik twijfel\b|\b(?:ik ben|ben) ~onzeker\b",
    vague=r"\bzeker\b(?! (?:van|wie|wat|of)\b)|\bprecies\w*\b|\bexact\w*\b|\bmet zekerheid\b",
    more=r".*\b(?:meer|verder|anders|waarom (?:je|u))\b",
    denied=(
        r"(?:\b(?:niet|nooit)(?: zo| waar| gezegd)?,? (?:dat|alsof|omdat) (?:\w+ )?|\b(?:hij|zij|ze|je|jij|u|men|iemand|veel mensen|wie) ~(?:denk|geloof|zeg|zei|meen|beweer|antwoord)\w*[^,]*,? (?:dat )?|\b(?:als|wanneer|indien|tot|zolang) (?:\w+ )?|"
        r"\b(?:lied|liedje|nummer|titel|film|boek|heet|getiteld) (?:heet |is )?)$"
    ),
    mention=r"\b(?:betekent|uitdrukking|afkorting)\b",
    guess=(
        r"\b(?:misschien|waarschijnlijk|vermoedelijk|wellicht|mogelijk|ongeveer|volgens mij|bij mijn weten|naar mijn mening)\b(?! (?:kun|kan|moet))|\b(?:ik (?:denk|geloof|gok|vermoed|schat|zou zeggen|meen)|denk ik|geloof ik|zou ik (?:zeggen|gokken))\b(?! (?:niet|dat je|dat u))|\bmijn (?:beste )?(?:gok|antwoord|vermoeden|schatting)\b|\bzou ~kunnen zijn\b"
    ),
    claim=r"^(?:het|dat|dit|hij|zij|het antwoord|de \w+) (?:is|was|zijn|waren|heet|heette)\b(?! ~(?:niet|geen|moeilijk|onmogelijk|mogelijk|belangrijk|onbekend|vraag|onduidelijk))",
    aside=(
        r"^(?:en |of |want |dus |maar )*(?:ik|wij|we|je|jij|u|mijn|bedankt|dank\w*|alsjeblieft|alstublieft|kun\w*|vraag\w*|raadpleeg|kijk|zoek\w*|probeer|goede|lastige|interessante|antwoord|hm+|eh+|uh+|tja|nou|oh|ach|sorry|excuses|het spijt|helaas|eerlijk\w*|"
        r"om eerlijk|wie|wat|wanneer|waar|waarom|hoe|welke|of|dat|als|in|met|voor|van|over|op|een arts|het is een|jammer\w*|spijtig)\b|^(?!nee$).*\b(?:niet|niets|nooit|geen|onbekend)\b|^\W*$"
    ),
    verb=r"\b(?:is|was|zijn|waren|heeft|had|hangt|ligt|heet)\b",
    links=r"(?:(?<=\s)|^)(?:maar|echter|hoewel|toch|en(?= ik\b)|(?=(?:misschien|waarschijnlijk)\s))\s*",
)

RUSSIAN = grammar(
    adverbs=r"\w+",
    folds=[("ё", "е")],
    unknown=(
        r"\b(?:я|мы) ~не ~(?:знаю|знаем|помню|припомню|припоминаю|имею представления|владею информацией|располагаю|слышала?|в курсе|в состоянии|нашла?|скажу|ведаю)\b|^~?не (?:знаю|помню|в курсе|скажу|припомню)\b|\b(?:этого|это|ответа?) ~не знаю\b|"
        r"\b(?:понятия|представления|малейшего понятия) не имею\b|\bне имею (?:ни малейшего )?(?:понятия|представления)\b|\bбез понятия\b|\bне могу ~(?:ответить|сказать|вспомнить|помочь|определить|назвать|дать|подсказать|найти|подтвердить|судить|знать)\b|"
        r"\b(?:мне|нам) ~(?:неизвестн\w|не известн\w|неведомо)\b|^~?(?:неизвестно|неясно|не известно)\b|\bостается неизвестн\w+|\b(?:нет|недостаточно|не хватает|отсутству\w+) ~(?:информации|данных|сведений|ответа|контекста|доступа)\b|"
        r"\bзатрудн\w+\b|\bневозможно ~(?:сказать|определить|узнать|ответить|установить)\b|\b(?:никто|кто|бог|черт) (?:его )?~?зна(?:ет|ют)\b|\bв тексте ~не\b|\bтекст ~не\b|\bне берусь\b|\bвоздержусь\b|\bпредпоч\w+ не\b|\bотказываюсь\b|\b(?:забыла?|вылетело из головы)\b|\bоткуда мне знать\b|\bне в курсе\b|\bне знаком[а]? с\b"
    ),
    unsure=r"\bне ~(?:уверена?|убеждена?)\b|\bсомневаюсь\b|\bзатрудняюсь\b(?! ответить)",
    vague=r"\bточн\w+\b|\bнаверняка\b|\bс уверенностью\b",
    more=r".*\b(?:больше|ничего другого|почему (?:вы|ты))\b",
    denied=(
        r"(?:\bне (?:то чтобы|то что|потому что|правда,? что)[^,]* |\b(?:он|она|они|вы|ты|кто|многие|люди) ~(?:сказал|говор|дума|счита|ответ|полага|утвержда)\w*,? (?:что )?|\b(?:когда|если|пока|хотя)(?: \w+)* ?|\b(?:песня|фильм|книга|называется) )$"
    ),
    mention=r"\b(?:означает|переводится|выражение|сокращение)\b",
    guess=(
        r"\b(?:может быть|возможно|наверное|вероятно|скорее всего|пожалуй|примерно|около|по-моему|кажется|должно быть|видимо|насколько (?:я|мне))\b(?! (?:вам|вы|стоит))|\b(?:думаю|полагаю|считаю|предполагаю|предположу|сказала? бы|допускаю|склоняюсь)\b(?! (?:вам|вы|не))|\b(?:моя|мой) (?:догадка|ответ|предположение|версия)\b|\bзнаю, что\b"
    ),
    claim=r"^(?:это|он|она|они|ответ)(?! (?:не|сложн|трудн|хорош|интересн|вопрос|невозможн|неизвестн))\b",
    aside=(
        r"^(?:и |или |но |а |потому что )*(?:я|мы|вы|ты|мой|моя|спасибо|пожалуйста|попробуй\w*|спросите|обратитесь|посмотрите|можете|можешь|хороший|интересный|сложный|вопрос|ответ|гм+|хм+|ну|ой|ах|эх|извини\w*|прости\w*|простите|к сожалению|увы|честно|откровенно|"
        r"по правде|если честно|кто|что|когда|где|почему|как|какой|ли|в|на|с|для|о|об|по|врач\w*|советую|рекомендую|жаль|боюсь|сожалею|прошу|здравствуйте)\b|^(?!нет$).*\b(?:не|ни|нет|никогда|ничего|неизвестн\w+)\b|^\W*$"
    ),
    verb=r"\b(?:был|была|было|были|есть|находится|родился)\b",
    links=r"(?:(?<=\s)|^)(?:но|однако|хотя|а(?= я\b)|и(?= я\b)|(?=(?:может быть|наверное|возможно)\s))\s*",
)

_ZH_START = (
    r"^(?:(?:我|我们|我們|咱|本人|俺|在下|你|这|這|那|该|該|对此|對此|对于这个|關於這個|关于这个|这个问题|這個問題|答案|抱歉|对不起|不好意思|嗯|呃|额|唉|啊|哎呀|其实|其實|说实话|說實話|老实说|老實說|坦白说|"
    r"很遗憾|很遺憾|遗憾的是|可惜|恐怕|目前|现在|現在|暂时|暫時|也|还|還|都|真的|真|并|並|完全|实在|實在|确实|確實|的确|根本|一点也|一点都|一點也|已经|已經|仍|仍然|尚|很|太|是|就|只是|但|不过|所以|因此|因为|"
    r"作为(?:一个)?(?:人工智能|AI|语言模型)\w{0,6}?|具体|这个|這個|那个|的|真心|个人|怎么|连|自己|至今|一时|实话|可能|或许|(?:根据|從|从|依据)\S{0,10}?(?:信息|文本|内容|上下文|资料)|得承认|必须承认|只能说|不得不(?:说|承认)|想说|承认|的是|真)){0,6}?"
)
CHINESE = grammar(
    folds=[
        (r"\s+(?=[\u3400-\u9fff])|(?<=[\u3400-\u9fff])\s+", ""),
        ("無法", "无法"),
        ("確", "确"),
        ("資", "资"),
        ("訊", "讯"),
        ("關", "关"),
        ("說", "说"),
        ("應該", "应该"),
    ],
    unknown=(
        _ZH_START + r"(?:不(?:知道|晓得|曉得|清楚|了解|瞭解|记得|記得|懂|明白|知|认识|熟悉|得而知|详|詳)(?!的|我)|无从(?:得知|知晓|回答)|一无所知|一無所知|毫不知情|没(?:有)?听说过|沒(?:有)?聽說過|没听过|"
        r"(?:没|沒)(?:有)?(?:任何|足够的|足够|相关的?|这方面的|该|确切的?|这个|一点){0,2}(?:头绪|頭緒|概念|信息|資料|资料|资讯|印象|答案|线索|记录|数据|办法(?:回答|确定|知道|判断)|法(?:回答|确定|判断))|"
        r"(?:无法|不能|没法|沒法|难以|難以|不便|不会|不想|不愿|不方便)(?:\S{0,4}?)(?:回答|确定|判断|判斷|得知|告诉|告訴|提供|确认|知道|知晓|说|猜|给出|回忆|想起|透露|评论|帮助|协助|推断|核实|置评)|想不起来|想不起來|"
        r"忘(?:记|記)?了|说不清楚?|毫无(?:头绪|概念|印象|线索)|一头雾水|(?:答|回答|说|說)不(?:上来|上來|出来|出來|出|上)|拿不准是谁|弃权|拒绝回答|不予置评|无可奉告|未知(?:$|。)|无解)|"
        r"(?:文中|文章|文本|原文|材料|资料|上下文|题目|題目|信息|文档|段落)\S{0,4}?(?:没有|沒有|未|并未|没)(?:提到|提及|说明|說明|给出|提供|包含|指出|写明|涉及|显示)|"
        r"^(?:目前|至今|现在|具体\S{0,4}|答案)?(?:仍|还|尚)?(?:不清楚|未知|不明|不详|没有定论|尚无定论|无从得知)$|尚不清楚|尚不明确|^信息不足|没人知道$|^谁知道|^没(?:有)?人知道|天知道|^鬼知道|问倒我了|难倒我了|我怎么(?:会)?知道|超出了?我的"
    ),
    unsure=_ZH_START + r"(?:不(?:太|大|怎么)知道|不(?:太|是很|十分|大|怎么|能|敢|那么|是特别|完全|是完全|够)?(?:确定|確定|肯定|清楚|有把握|记得|保证)(?!的)|没(?:有)?把握|沒(?:有)?把握|拿不准|说不准|說不準|不一定)",
    vague=r"(?:确切|具体|准确|精确|详细)",
    more=r".*(?:更多|其他|其它|别的|为什么(?:问|你|$))",
    denied=r"(?!)",
    undone=r"(?:吗|嗎|的人|的时候|的时|时|的话|就)",
    mention=r"(?:意思是|的意思|英语|英文|翻译|缩写|这句话|这个词)",
    guess=(
        r"(?:可能(?!性)|大概|也许|也許|或许|或許|估计|估計|应该(?!咨询|问|查)|應該|恐怕是|大约|大約|左右|猜是|我猜|我觉得|我覺得|我认为|我認為|我想是|我想应该|我想可能|似乎是|好像是|推测|印象中|据我所知|多半|八成|如果(?:非要|一定要|要我)\S{0,3}(?:猜|说)|我会(?:说|选|猜|答)|我选|选择?[A-D]|倾向于)"
    ),
    claim=r"^(?:但|不过|可是|而|所以)?(?:答案|那|这|它|他|她|其实|就|那就|首都|我知道)?(?:是|就是|叫|为)(?!个|個|一个|一個|不|否|什么|谁|很|我|因为|难)",
    aside=(
        r"^(?:我|你|您|请|請|建议|建議|抱歉|对不起|對不起|不好意思|很遗憾|遗憾|很抱歉|谢谢|感谢|嗯|呃|额|唉|啊|哎呀|哦|噢|说实话|說實話|老实说|坦白说|坦率地说|其实|答案$|回答$|答$|问题|問題|好问题|这个问题|這個問題|这是(?:个|一个)|"
        r"可以|可|如果|如需|如有|是否|什么|谁|哪|为什么|怎么|根据|根據|关于|關於|对于|作为|因为|由于|或者?(?:我|你|您|请)|欢迎|希望|需要|也许(?:你|您)|或许(?:你|您)|可能需要|不妨|麻烦|亲|您好|你好|让我|非常|实在|不要)|"
        r"^(?!不$|不是$|没有$).*(?:没有|不|无|未|没)"
    ),
    verb=r"[是有在了过着]",
    links=r"(?:但是?|不过|可是|然而|只是|虽然|雖然|儘管|尽管|(?<=.)(?=(?:可能|也许|大概|应该)是))",
)

JAPANESE = grammar(
    folds=[(r"\s+(?=[\u3040-\u9fff])|(?<=[\u3040-\u9fff])\s+", "")],
    unknown=(
        r"(?:わかりません|分かりません|わからない|分からない|わかんない|分かんない|わかんね|存じません|存じ上げません|存じておりません|知りません|知らない|知らん|知りかねます|わかりかねます|分かりかねます|判りません|"
        r"覚えていません|覚えてません|覚えていない|覚えてない|記憶にありません|思い出せません|思い出せない|忘れました|忘れてしまいました|"
        r"(?:お答え|回答|お答えすることは?|答え(?:ること)?(?:が|は)?|お伝え|断定|判断|特定|確認|お手伝い)(?:することは|することが|は|が)?(?:でき(?:ません|ない|かねます)|いたしかねます|しかねます)|答えられません|答えられない|"
        r"(?:情報|知識|データ|資料|答え|記録|手がかり|見当|心当たり)(?:は|が|を|も)(?:\S{0,4})?(?:ありません|ございません|ない|持っていません|持っておりません|持ち合わせておりません|持ち合わせていません|つきません|つかない|不足しています)|"
        r"不明です|不明$|不明である|見当もつ|さっぱり(?:です|$)|(?:書かれて|記載されて|述べられて|言及されて|明記されて)い(?:ません|ない)|記載がありません|記載はありません|言及していません|(?:誰|だれ)に(?:も)?(?:わから|分から)|ノーコメント|お答えを?控え|聞いたことがありません|聞いたことがない)"
        r"(?!わけ|訳|こと|とき|時|人|場合|ほど|ふり|もの|なら|という|と(?:言|い)う|と思|はず|方|者|国|ため)"
    ),
    unsure=(
        r"(?:確信(?:は|が)?(?:あり|持て)(?:ません|ない)|確信がない|自信(?:は|が)(?:あり|持て)?(?:ません|ない)|確か(?:では|じゃ)(?:ありません|ない)|はっきり(?:とは|しません|しない)|確実(?:では|なことは)\S{0,4}(?:ません|ない)|定か(?:では|じゃ)(?:ありません|ない))"
    ),
    vague=r"(?:正確|詳しく|詳細|はっきり|確実|よくわかりませんが|よく分かりませんが|確かなこと)",
    more=r".*(?:それ以上|他に|ほかに)",
    denied=r"(?:(?:人|彼|彼女|たち|皆|みんな|学生|多く|専門家|方々)(?:は|も|が|には)[^。]*|誰も[^。]*|と(?:言|い|思)[^。]*)$",
    undone=r"(?:わけ|訳|と(?:言|い|答|述))",
    mention=r"(?:という意味|英語で|という言葉|という表現|略)",
    guess=r"(?:と思い?(?:ます|う)|だと思|でしょう|だろう|たぶん|多分|おそらく|恐らく|かもしれ|はずです|もしかし|おおよそ|およそ|推測|のようです|気がします|ではないか|じゃないか)",
    claim=r"^(?!.*(?:質問|問題|難し|ません|ない)).*(?:です|である|だ|でした|だった)(?:が|けど|ね|よ)?$",
    aside=(
        r"^(?:すみません|申し訳|ごめん|恐れ入り|残念|正直|えー?と|うーん|うー|さあ|さて|まあ|いや|いい質問|良い質問|私|僕|俺|ご?質問|答え$|回答$|解答$|どうぞ|ぜひ|詳しくは|もし|より|他の|別の|何|誰|いつ|どこ|なぜ|どう|その|この|ご|お)|(?:ください|ましょう|ませんか|ますか|ですか|お勧め|おすすめ|お願い)|^(?!いいえ$).*(?:ません|ない)"
    ),
    verb=r"(?:です|ます|ました|でした)$",
    links=r"(?<=ません)(?=が)が|(?<=ない)(?=けど|が)(?:けれど|けど|が)|(?:しかし|でも|ただし|ですが)",
)
