"""Small templates, one per construct, with the variables that they see."""

VARIABLES = {
    "s": "Hello, World",
    "u": "naïve 😀 日本",
    "blank": " \t x \n",
    "lines": "one\ntwo\r\n\nthree",
    "n": 7,
    "f": 2.5,
    "yes": True,
    "nothing": None,
    "l": [3, 1, 2],
    "words": ["b", "A", "c", "a"],
    "d": {"b": 1, "a": [1, {"x": None}], "items": 5},
    "people": [
        {"name": "Zoe", "age": 31, "at": {"city": "Rome"}},
        {"name": "adam", "age": 4, "at": {"city": "Oslo"}},
        {"name": "Bob", "age": 31},
    ],
    "quotes": "it's \"q\" \\ \n\t\x07",
    "floats": [0.1, 1e16, 1e-05, 123456789012345680.0, 5e-324, 1.7976931348623157e308, -0.0, 100.0, 1 / 3],
}

SNIPPETS = """
{{ 1 + 2 * 3 - 4 // 3 }} {{ 7 / 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 2 ** 10 }} {{ -2 ** 2 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }}
{{ 1.5 + 1 }} {{ 1e3 }} {{ 1_000 }}
{{ 'a' + 'b' }} {{ 'a' ~ 1 ~ none ~ true ~ 1.0 ~ [1] }} {{ 'ab' * 3 }} {{ 3 * 'ab' }} {{ [1] * 2 }} {{ [1] + [2] }} {{ (1, 2) + (3,) }}
{{ 'a' + 1 }}
{{ 1 / 0 }}
{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 3 > 2 >= 2 == 2 != 1 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' == 1 }} {{ none == none }}
{{ 'a' < 1 }}
{{ 1 in l }} {{ 9 not in l }} {{ 'ell' in s }} {{ 'b' in d }} {{ 'x' in missing }} {{ '' in s }} {{ 1 in (1, 2) }}
{{ 1 in s }}
{{ not 1 }} {{ not '' }} {{ 1 and 'x' }} {{ 0 or 'y' }} {{ 0 and 1 }} {{ '' or [] or 'z' }} {{ not 1 == 2 }}
{{ 'a' if n else 'b' }} {{ 'a' if nothing else 'b' }} {{ 'a' if nothing }}| {{ 1 if yes else 2 if yes else 3 }}
{{ ('a' if nothing).x }}
{{ missing }}|{{ missing is defined }}|{{ nothing is none }}|{{ missing | length }}|{{ missing | default('x') }}|{{ nothing | default('x') }}|{{ nothing | default('x', true) }}|{{ '' | d('y', boolean=true) }}
{{ missing.x }}
{{ missing + 1 }}
{{ missing() }}
{{ missing[0] }}
{{ d.zzz }}|{{ d['zzz'] }}|{{ d.b }}|{{ d['b'] }}|{{ d.a[1].x }}|{{ d.a[1]['x'] is none }}|{{ l[5] }}|{{ l[-1] }}|{{ l.x }}|{{ nothing.x }}|{{ n.x }}
{{ d.zzz.y }}
{{ d['items'] }} {{ d.items() | list }} {{ d.items is defined }} {{ d['keys'] is defined }} {{ d.keys() | list }} {{ d.values() | list }} {{ d.get('b') }} {{ d.get('q') }} {{ d.get('q', 3) }} {{ d.copy() }}
{{ l[1:] }} {{ l[:-1] }} {{ l[::-1] }} {{ l[::2] }} {{ l[-100:100] }} {{ s[1:4] }} {{ s[-3:] }} {{ u[3:] }} {{ u[::-1] }} {{ u[6] }} {{ u[-1] }} {{ s[10:2:-3] }} {{ l[2:1] }} {{ u[5:1] }}|
{{ nothing[1:] }}
{{ d }} {{ l }} {{ (1,) }} {{ () }} {{ {} }} {{ {'a': 1, 2: [none, true, 1.5, 'q']} }} {{ quotes }} {{ [quotes] }} {{ ["it's"] }} {{ [u] }}
{{ floats }} {{ floats | tojson }} {{ 1e400 }} {{ [1e400, -1e400] | tojson }}
{{ d | tojson }} {{ d | tojson(indent=2) }} {{ quotes | tojson }} {{ u | tojson }} {{ u | tojson(ensure_ascii=true) }} {{ d | tojson(sort_keys=true) }} {{ l | tojson(separators=(',', ':')) }} {{ d | tojson(separators=(',', ':'), indent=1) }} {{ {1: 2, none: 3, true: 4} | tojson }} {{ (1, 2) | tojson }} {{ [] | tojson(indent=4) }} {{ [[], {}] | tojson(indent=4) }} {{ l | tojson(indent='--') }}
{{ missing | tojson }}
{{ s | upper }} {{ s | lower }} {{ s | title }} {{ 'foo-bar (baz) [q] {z' | title }} {{ 'hELLO wORLD' | capitalize }} {{ blank | trim }} {{ 'xxaxx' | trim('x') }} {{ 5 | string + '1' }} {{ s | length }} {{ u | length }} {{ u | reverse }} {{ s | first }} {{ s | last }} {{ s | list }}
{{ s | replace('l', 'L') }} {{ s | replace('l', 'L', 1) }} {{ 'aaa' | replace('', '-') }} {{ 121 | replace(1, 3) }}
{{ lines | indent }}|{{ lines | indent(2, true) }}|{{ lines | indent(width=3, blank=true) }}|{{ lines | indent('>> ') }}|{{ '' | indent }}|{{ 'a\\n' | indent }}
{{ l | join(', ') }} {{ l | join }} {{ people | join(', ', attribute='name') }} {{ s | join('-') }} {{ d | join('-') }} {{ [1, none, 'x'] | join(none) }}
{{ l | first }} {{ l | last }} {{ [] | first }}| {{ l | length }} {{ d | length }} {{ d | count }} {{ l | sum }} {{ people | sum(attribute='age') }} {{ l | sum(start=10) }} {{ l | max }} {{ l | min }} {{ words | max }} {{ words | min(case_sensitive=true) }} {{ people | max(attribute='age') }} {{ [] | max }}|
{{ l | sort }} {{ l | sort(reverse=true) }} {{ words | sort }} {{ words | sort(case_sensitive=true) }} {{ people | sort(attribute='age') | map(attribute='name') | list }} {{ people | sort(attribute='age', reverse=true) | map(attribute='name') | list }} {{ words | unique | list }} {{ [1, 1.0, 2, 1] | unique | list }} {{ people | unique(attribute='age') | list | length }}
{{ [1, 'a'] | sort }}
{{ d | dictsort }} {{ {'b': 2, 'A': 3, 'a': 1} | dictsort }} {{ {'b': 2, 'A': 3} | dictsort(by='value') }} {{ {'b': 2, 'A': 3} | dictsort(true) }} {{ {'b': 2, 'A': 3} | dictsort(reverse=true) }} {{ d | items | list }} {{ missing | items | list }} {{ d | list }}
{{ people | map(attribute='name') | list }} {{ people | map(attribute='at.city', default='?') | list }} {{ words | map('upper') | list }} {{ l | map('string') | join('+') }} {{ words | map('replace', 'a', 'b') | list }} {{ missing | map('upper') | list }} {{ nothing | map('upper') | list }}
{{ people | selectattr('age', 'gt', 10) | map(attribute='name') | list }} {{ people | rejectattr('at') | list | length }} {{ people | selectattr('at', 'defined') | list | length }} {{ people | selectattr('name', 'equalto', 'Bob') | first }} {{ people | selectattr('age', '==', 4) | list }} {{ l | select('odd') | list }} {{ l | reject('odd') | list }} {{ [0, 1, ''] | select | list }} {{ people | selectattr('at.city', 'in', ['Oslo']) | list | length }} {{ l | select('>', 1) | list }}
{{ '42' | int }} {{ ' 42 ' | int }} {{ '4.7' | int }} {{ 'x' | int }} {{ 'x' | int(5) }} {{ 4.9 | int }} {{ -4.9 | int }} {{ true | int }} {{ none | int }} {{ '2.5' | float }} {{ '1e3' | float }} {{ 'x' | float }} {{ 3 | float }} {{ -3 | abs }} {{ -3.5 | abs }} {{ '+5' | int }}
{{ [3, 1] | reverse | list }} {{ 'abc' | reverse }} {{ {'a': 1} | reverse | list }} {{ s | safe }} {{ [1, 2] | list }} {{ (1, 2) | list }}
{{ 5 is number }} {{ true is number }} {{ 5 is integer }} {{ true is integer }} {{ 5.0 is float }} {{ 's' is string }} {{ d is mapping }} {{ l is mapping }} {{ l is sequence }} {{ s is sequence }} {{ d is sequence }} {{ 5 is sequence }} {{ l is iterable }} {{ 5 is iterable }} {{ missing is iterable }} {{ none is none }} {{ true is boolean }} {{ true is true }} {{ 1 is true }} {{ false is false }} {{ range is callable }} {{ s is callable }}
{{ 4 is even }} {{ 4 is odd }} {{ 4 is divisibleby(2) }} {{ 4 is divisibleby 3 }} {{ 4 is eq 4 }} {{ 4 is ne 4 }} {{ 4 is lt 5 }} {{ 4 is ge 5 }} {{ 4 is in [4] }} {{ 4 is not in [4] }} {{ 'a' is lower }} {{ 'A1' is upper }} {{ '1' is upper }} {{ none is sameas none }} {{ 4 is not even }} {{ missing is not defined }} {{ x is undefined and true }} {{ not s is string }}
{{ 'a' is even }}
{{ blank.strip() }}|{{ blank.lstrip() }}|{{ blank.rstrip() }}|{{ 'xaxbx'.strip('x') }}|{{ 'abcba'.lstrip('ab') }}|{{ '\\u00a0\\u2003a\\u3000'.strip() }}|{{ '日a日'.strip('日') }}
{{ s.split(', ') }} {{ 'a  b c '.split() }} {{ 'a  b c '.split(' ') }} {{ 'a,b,c'.split(',', 1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ 'a  b c'.split(none, 1) }} {{ 'a  b c  '.rsplit(none, 1) }} {{ ''.split() }} {{ ''.split(',') }} {{ 'a</think>b</think>c'.split('</think>')[-1] }} {{ 'é à'.split() }} {{ 'a b c d'.rsplit(maxsplit=2) }} {{ 'aXbXc'.split('X', maxsplit=0) }}
{{ 'a'.split('') }}
{{ s.startswith('He') }} {{ s.startswith(('x', 'He')) }} {{ s.endswith('ld') }} {{ s.endswith('') }} {{ s.find('o') }} {{ s.rfind('o') }} {{ s.find('z') }} {{ u.find('日') }} {{ s.index('W') }} {{ s.count('l') }} {{ u.count('') }} {{ s.replace('l', '') }} {{ s.replace('l', 'L', 2) }} {{ s.upper() }} {{ s.lower() }} {{ "they're bill's".title() }} {{ 'aBC'.capitalize() }} {{ s.removeprefix('Hello') }} {{ s.removesuffix('World') }} {{ s.removesuffix('x') }}
{{ s.index('z') }}
{{ '-'.join(words) }} {{ ''.join([]) }} {{ ', '.join('abc') }} {{ s.partition(', ') }} {{ s.rpartition('l') }} {{ s.partition('z') }} {{ s.rpartition('z') }} {{ lines.splitlines() }} {{ lines.splitlines(true) }} {{ 'a\\n'.splitlines() }} {{ ''.splitlines() }} {{ '12'.isdigit() }} {{ 'a1'.isalpha() }} {{ 'a1'.isalnum() }} {{ ''.isdigit() }} {{ ' \\n'.isspace() }} {{ 'ab'.islower() }} {{ 'AB1'.isupper() }}
{{ '-'.join([1]) }}
{{ l.index(2) }} {{ l.count(1) }} {{ (1, 2).index(2) }} {{ l.copy() }}
{{ l.append(4) }}
{{ l.index(9) }}
{{ range(3) | list }} {{ range(1, 4) | list }} {{ range(10, 0, -3) | list }} {{ range(0) | list }} {{ range(5, 1) | list }}
{{ range(1000000) | list }}
{{ dict(a=1, b=2) }} {{ dict({'a': 1}, b=2).b }} {{ dict() }}
{{ strftime_now('%d %b %Y') }} {{ strftime_now('%A %a %B %H:%M:%S %I %p %j %y %m %% %-d %Y-%m-%d') }}
{{ raise_exception('No: ' ~ n) }}
{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('a', 'b') }}{{ loop.changed(i > 1) }}{{ loop.depth }};{% endfor %}
{% for i in [] %}x{% else %}none{% endfor %}{% for i in l if i > 1 %}{{ loop.index }}/{{ loop.length }}:{{ i }} {% else %}none{% endfor %}{% for i in l if i > 9 %}x{% else %}none{% endfor %}{% for i in missing %}x{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for c in u %}[{{ c }}]{% endfor %}{% for a, (b, c) in [(1, (2, 3))] %}{{ a + b + c }}{% endfor %}
{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}
{% for i in 5 %}{% endfor %}
{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% else %}never{% endfor %}
{% for i in range(3) %}{% for j in range(2) %}{{ loop.index }}{{ i }}{{ j }} {% endfor %}{{ loop.index }}|{% endfor %}{% for i in l %}{% set outer = loop %}{% for j in l %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}
{% set x = 1 %}{% for i in l %}{{ x }}{% set x = x + i %}{{ x }};{% endfor %}{{ x }}{% if true %}{% set x = 5 %}{% endif %}{{ x }}{% if false %}{% set n = 1 %}{% endif %}{{ n }}{% if false %}{% set q = 1 %}{% endif %}{{ q is defined }}
{% set ns = namespace(a=1, found=false) %}{% for i in l %}{% set ns.a = ns.a + i %}{% if i == 1 %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.a }}{{ ns.found }}{{ ns.zzz }}{{ ns['a'] }}
{% set ns = namespace({'k': 2}) %}{{ ns.k }}{% set s.x = 1 %}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set t = 1, %}{{ t }}{% set z %}in {{ n }} {% endset %}[{{ z }}]{% set y | upper | trim %} abc {% endset %}[{{ y }}]
{% macro m(a, b=2, c=a) %}{{ a }}-{{ b }}-{{ c }};{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(1, c=9) }}{{ m(b=5, a=4) }}{{ m() }}{{ m(1) | upper ~ m(2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(z=2) }}
{% macro f(k) %}{% if k > 0 %}{{ k }},{{ f(k - 1) }}{% endif %}{% endmacro %}{{ f(5) }}{% set g = f %}{{ g(1) }}
{% macro f(k) %}{{ later }}{{ k }}{% endmacro %}{% set later = 'L' %}{{ f(1) }}{% set later = 'M' %}{{ f(2) }}{% macro h() %}{% set later = later ~ '!' %}{{ later }}{% endmacro %}{{ h() }}{{ later }}
{% macro outer() %}<{{ caller() }}>{{ caller('x') if false }}{% endmacro %}{% call outer() %}body {{ n }}{% endcall %}{% macro each(l) %}{% for i in l %}{{ caller(i) }}{% endfor %}{% endmacro %}{% call(x) each([1, 2]) %}[{{ x }}]{% endcall %}
{% macro f(a, b) %}{{ a }}{{ b }};{% endmacro %}{% set calls = [f, f] %}{{ calls[0](1, 2) }}{{ calls[1](*[3, 4]) }}{{ f(5, *[6]) }}
{% filter upper %}abc {{ s }}{% endfilter %}{% filter replace('a', 'b') | trim %} aa {% endfilter %}
{% generation %}x{% set q = 3 %}{{ q }}{% endgeneration %}{{ q is defined }}
{% if n == 1 %}a{% elif n == 7 %}b{% else %}c{% endif %}{% if missing %}x{% endif %}{% if not missing and l %}y{% endif %}{% if l and l[0] == 3 or missing.x %}z{% endif %}
{{ "a\\tb\\\\c\\x41\\u00e9\\U0001F600\\101\\'" }} {{ 'con' 'cat' }} {{ "multi
line" }}
  {% if true %}  x  {% endif %}  
  {%- if true -%}  x  {%- endif -%}  y
  {%+ if true %}  x
  {% endif +%}
z{# comment #} {#- trimmed -#} w  {# last #}
    {# c #}
  t  {{- ' u ' -}}  v  {{ 'w' }}
\ta{% set x = 1 %}\tb
{{ {'a': {'b': [1, 2]}}.a.b[1] }}{{ [1, [2, 3]][1][0] }}{{ (1, 2)[0] }}{{ 'abc'[1] }}{{ {'x': 1}['x'] }}{{ l.0 }}{{ [1, 2,][1] }}{{ {'a': 1,}.a }}
{{ -n }} {{ +n }} {{ - 3 + 5 }} {{ -f }} {{ not -n }} {{ n|string|length }} {{ -5|abs }} {{ (-5)|abs }} {{ 'x'|upper ~ 'y'|upper }} {{ 2 * 3|string }}
{{ messages }} {{ tools is none }} {{ documents is none }} {{ add_generation_prompt }} {{ tools is defined }} {{ bos_token is defined }} {{ loop is defined }}
{{ '%s' % 1 if false else 'ok' }} {{ namespace is defined }} {{ raise_exception is defined }} {{ no_such is defined }}
{% raw_ %}
{{ s | nope }} {% nope %} {{ s is nope }} {{ s.nope() }}
{% if x %}
{{ 'open }}
{{ (1 }}
{% for x in y %}{% endif %}
{{ 1 2 }}
{% endfor %}
{{ }}
{# open
{{ l | map('nope') | list }}
"""


def snippets():
    """Templates; a line that does not begin with "{" goes on with the last one."""
    block = ""
    for line in SNIPPETS.strip("\n").split("\n"):
        if block and line.startswith("{"):
            yield block.removesuffix("\n")
            block = ""
        block += line + "\n"
    yield block.removesuffix("\n")
