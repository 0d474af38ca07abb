"""Conversations that templates are rendered with."""

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place, in °C.\nNow or later.",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "City & country, \"quoted\" <b>"},
                "days": {"type": "integer", "minimum": 0, "maximum": 10, "default": 1},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "nullable": True},
                "detail": {"type": ["number", "null"], "multipleOf": 0.1, "example": 1e-07},
                "tags": {"type": "array", "items": {"type": "string"}},
                "range": {
                    "type": "object",
                    "properties": {"from": {"type": "string"}, "to": {"type": "string", "format": "date"}},
                    "required": ["from"],
                },
            },
            "required": ["place", "unit"],
        },
        "return": {"type": "string"},
    },
}
STOP = {
    "type": "function",
    "function": {
        "name": "stop",
        "description": "Ends it.",
        "parameters": {"type": "object", "properties": {}, "required": []},
    },
}


def _call(name, arguments, id):
    return {"type": "function", "id": id, "function": {"name": name, "arguments": arguments}}


def _messages():
    user = {"role": "user", "content": "Hello, who are you?"}
    system = {"role": "system", "content": "  You are terse.\n"}
    answer = {"role": "assistant", "content": "A model. "}
    yield "user", [user]
    yield "system", [system, user]
    yield "turns", [user, answer, {"role": "user", "content": "And 1 < 2 & \"x\" 'y'?"}]
    yield "system turns", [system, user, answer, {"role": "user", "content": "\tÀ bientôt 😀 Ça va?\r\n "}]
    yield "ends with assistant", [system, user, answer]
    yield "odd order", [user, user, answer, answer]
    yield "only system", [system]
    yield "nothing", []
    yield "empty content", [{"role": "system", "content": ""}, {"role": "user", "content": ""}]
    yield "developer", [{"role": "developer", "content": "Be kind."}, user]
    yield "unknown role", [{"role": "ipython", "content": "x"}, user]
    yield "parts", [
        {"role": "system", "content": [{"type": "text", "text": "Look."}]},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " What is it? "}]},
    ]
    yield "thinking text", [
        user,
        {"role": "assistant", "content": "<think>\nI am\n\nasked.\n</think>\n\nA model."},
        {"role": "user", "content": "More /no_think"},
    ]
    yield "thinking field", [
        user,
        {"role": "assistant", "reasoning": "\nI am asked.\n", "content": "A model."},
        {"role": "user", "content": "More /think"},
        {"role": "assistant", "reasoning_content": "Again.", "content": "Yes."},
    ]
    for name, arguments in (
        ("dict", {"place": "Paris, Île-de-France", "days": 2, "unit": None, "deep": {"a": [1, 2.5, True], "b": {}}}),
        ("text", '{"place": "Oslo"}'),
    ):
        yield f"tool call, {name}", [
            system,
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": "", "tool_calls": [_call("get_weather", arguments, "abcdef123")]},
            {"role": "tool", "name": "get_weather", "tool_call_id": "abcdef123", "content": '{"t": 21.5}'},
            {"role": "assistant", "content": "21.5 °C."},
            {"role": "user", "content": "Thanks."},
        ]
    yield "two tool calls", [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [_call("get_weather", {"place": "Rome"}, "000000001"), _call("stop", {}, "000000002")],
        },
        {"role": "tool", "name": "get_weather", "tool_call_id": "000000001", "content": "warm"},
        {"role": "tool", "name": "stop", "tool_call_id": "000000002", "content": ["done", {"ok": True}]},
    ]


def conversations():
    """Dicts: name, messages, tools (absent: none), variables, add_generation_prompt."""
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    variables = [
        {},
        {"enable_thinking": False, "date_string": "26 Jul 2024"},
        {"enable_thinking": True, "custom_instructions": "Play.", "tools_in_user_message": False},
    ]
    for index, (name, messages) in enumerate(_messages()):
        for prompt in (False, True):
            for tools in (None, [WEATHER, STOP], []):
                yield {
                    "name": f"{name}, prompt {prompt}, {len(tools or ())} tools",
                    "messages": messages,
                    **({} if tools is None else {"tools": tools}),
                    "variables": {**tokens, **variables[(index + prompt + len(tools or ())) % 3]},
                    "add_generation_prompt": prompt,
                }
    yield {"name": "no tokens", "messages": [{"role": "user", "content": "Hi"}], "variables": {}, "add_generation_prompt": True}
