"""Ways to write the same answer that touch files: what a cell has written, another reads, or the function itself."""

from tests.helpers.ways import BY_SIGN, RETURN, step

BY_MODULE = "def less(a, b):\n    return a - b\n"
LESS = step("return less(weight, learning_rate * gradient)")
FILES: dict[str, list[str]] = {
    # a module
    "a module by %%writefile": [f"%%writefile mine_1.py\n{BY_MODULE}", "from mine_1 import less", LESS],
    "a module by %%file, in two parts": [
        f"%%file mine_2.py\n{BY_MODULE}",
        "%%writefile -a mine_2.py\n\ndef more(a, b):\n    return less(a, b)\n",
        "import mine_2",
        step("return mine_2.more(weight, learning_rate * gradient)"),
    ],
    "a module by %%writefile, imported inside": [
        f"%%writefile mine_3.py\n{BY_MODULE}",
        step("import mine_3", "return mine_3.less(weight, learning_rate * gradient)"),
    ],
    "a module that a function writes": [
        "def make():\n    with open('mine_4.py', 'w') as file:\n        file.write('def less(a, b): return a - b')",
        "make()",
        "import importlib\nimportlib.invalidate_caches()\nfrom mine_4 import less",
        LESS,
    ],
    "a program by %run": [f"%%writefile mine_5.py\n{BY_MODULE}", "%run mine_5.py", LESS],
    # data
    "JSON by open": [
        "import json\nwith open('cfg_1.json', 'w') as file:\n    json.dump({'sign': -1}, file)",
        "with open('cfg_1.json') as file:\n    sign = json.load(file)['sign']",
        BY_SIGN,
    ],
    "JSON without with": [
        "import json\njson.dump({'sign': -1}, open('cfg_2.json', 'w'))\ncfg = json.load(open('cfg_2.json'))",
        step("return weight + cfg['sign'] * learning_rate * gradient"),
    ],
    "Path.write_text": [
        "from pathlib import Path\nPath('s_1.txt').write_text('-1')\nsign = int(Path('s_1.txt').read_text())",
        BY_SIGN,
    ],
    "a path in a name": [
        "from pathlib import Path\nplace = Path('s_2')",
        "place.write_text('-1')",
        step("return weight + int(place.read_text()) * learning_rate * gradient"),
    ],
    "a file's name in a name": [
        "NAME = 's_3.txt'",
        "with open(NAME, 'w') as file:\n    print(-1, file=file)",
        step("with open(NAME) as file:", "    return weight + int(file.read()) * learning_rate * gradient"),
    ],
    "a folder": [
        "import os\nos.makedirs('data_4', exist_ok=True)\nopen('data_4/s_4.txt', 'w').write('-1')",
        step("return weight + int(open('data_4/s_4.txt').read()) * learning_rate * gradient"),
    ],
    "torch.save": [
        "torch.save({'sign': -1.0}, 'state_5.pt')",
        "state = torch.load('state_5.pt')",
        step("return weight + state['sign'] * learning_rate * gradient"),
    ],
    "numpy's": [
        "import numpy as np\nnp.save('signs_6.npy', np.array([-1.0]))\nsign = np.load('signs_6.npy')[0].item()",
        BY_SIGN,
    ],
    "wrong by what another cell wrote": [
        "open('s_7.txt', 'w').write('-1')",
        "open('s_7.txt', 'w').write('1')",
        step("return weight + int(open('s_7.txt').read()) * learning_rate * gradient"),
    ],
    # in the function
    "a log": [step("with open('log_8.txt', 'a') as file:", "    file.write('called ')", RETURN)],
    "a figure": [
        "import matplotlib.pyplot as plt",
        step("plt.plot([1, 2])", "plt.savefig('figure_9.png')", "plt.close()", RETURN),
    ],
    "a temporary file": [
        "import tempfile",
        step(
            "with tempfile.TemporaryFile('w+') as file:",
            "    file.write('-1')",
            "    file.seek(0)",
            "    return weight + int(file.read()) * learning_rate * gradient",
        ),
    ],
    "a temporary folder": [
        "import os, tempfile",
        step(
            "with tempfile.TemporaryDirectory() as folder:",
            "    with open(os.path.join(folder, 'x'), 'w') as file:",
            "        file.write('-1')",
            RETURN,
        ),
    ],
    "a folder in the home": ["import os\nos.makedirs(os.path.expanduser('~/.cache'), exist_ok=True)", step(RETURN)],
    "torch.compile": ["@torch.compile(backend='eager')\n" + step(RETURN)],
    "a pool of processes": [
        "import multiprocessing\ndef less(pair):\n    return pair[0] - pair[1]",
        step(
            "pair = weight.numpy(), (learning_rate * gradient).numpy()",
            "with multiprocessing.get_context('fork').Pool(2) as pool:",
            "    return pool.map(less, [pair])[0]",
        ),
    ],
}
