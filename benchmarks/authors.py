"""The steps of the code that LightGCN's authors publish, written anew: it is no package.

Adam on mini-batches; loss and penalty by autograd; for LightGCN a sparse product in coordinates for
each layer, all layers kept and their mean taken. Its samples come from a loop over single draws, in
Python or compiled; here a batch of them is drawn at once from all items, which costs less.
"""

import numpy as np
import torch
import torch.nn.functional as F

BATCH = 2048


class Authors:
    def __init__(self, data, model="BPR-MF", rate=1e-3, l2=1e-4, dim=64, layers=3):
        users, items = data.train.nonzero()
        self.pairs = torch.from_numpy(np.stack([users, items])).long()
        self.shape = data.train.shape
        self.tables = torch.nn.ModuleList(torch.nn.Embedding(n, dim) for n in self.shape)
        for table in self.tables:
            torch.nn.init.normal_(table.weight, std=0.1)
        self.optimizer = torch.optim.Adam(self.tables.parameters(), lr=rate)
        self.l2, self.layers = l2, layers if model == "LightGCN" else 0
        ends = torch.stack([self.pairs[0], self.pairs[1] + self.shape[0]])
        edges, nodes = torch.cat([ends, ends.flip(0)], 1), sum(self.shape)
        degree = edges[0].bincount(minlength=nodes).double().clamp(min=1)
        weight = (degree[edges[0]] * degree[edges[1]]).rsqrt().float()
        self.graph = torch.sparse_coo_tensor(edges, weight, (nodes, nodes)).coalesce()

    def final(self):
        """Embeddings of users and items after propagation."""
        if not self.layers:
            return [table.weight for table in self.tables]
        layers = [torch.cat([table.weight for table in self.tables])]
        for _ in range(self.layers):
            layers.append(torch.sparse.mm(self.graph, layers[-1]))
        return torch.stack(layers, dim=1).mean(1).split(self.shape)

    def epochs(self, n=1):
        for _ in range(n):
            for batch in torch.randperm(self.pairs.shape[1]).split(BATCH):
                u, p = self.pairs[:, batch]
                ids = ((0, u), (1, p), (1, torch.randint(self.shape[1], p.shape)))
                users, items = self.final()
                better, worse = ((users[u] * items[i]).sum(1) for _, i in ids[1:])
                own = [self.tables[side](i) for side, i in ids]
                penalty = sum(rows.square().sum() for rows in own) / 2 / len(u)
                loss = F.softplus(worse - better).mean() + self.l2 * penalty
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()

    def rank(self):
        raise LookupError("only its steps are written here")
