// What AWS would say to each request, by a simulator that is not ours: one line of JSON a case in, one out.
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const { runSimulation } = createRequire(process.argv[2] + '/')('@cloud-copilot/iam-simulate')
const whole = { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: '*', Resource: '*' }] }
for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line)
  const said = await runSimulation({
    identityPolicies: asked.policies.map((policy, n) => ({ name: 'p' + n, policy })),
    serviceControlPolicies: [{ orgIdentifier: 'o-1', policies: [{ name: 'all', policy: whole }] }],
    resourceControlPolicies: [],
    resourcePolicy: asked.resource_policy ?? undefined,
    request: {
      principal: asked.principal,
      action: asked.action,
      resource: { resource: asked.resource, accountId: asked.account },
      contextVariables: asked.context,
    },
  }, {})
  console.log(JSON.stringify({
    kind: said.resultType, result: said.overallResult ?? null, errors: said.errors ?? null,
    ignored: said.result?.ignoredContextKeys ?? [],
  }))
}
