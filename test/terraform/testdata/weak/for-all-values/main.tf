# What the iam module writes when enable_github_oidc is set, as a policy document.
data "aws_iam_policy_document" "trust" {
  statement { # want: ForAllValues:StringEquals on token.actions.githubusercontent.com:aud in an Allow is true for a claim that is absent: use StringEquals | a trust policy whose condition on aud is not a certain StringEquals but ForAllValues:StringEquals: a token meant for another service is trusted | a trust policy whose condition on job_workflow_ref is not a certain StringEquals but StringEqualsIfExists: every workflow of the repository is trusted | a trust policy without a condition on repository_id: whoever takes over the repository's name is trusted | StringEqualsIfExists on token.actions.githubusercontent.com:job_workflow_ref in an Allow is true for a claim that is absent: use StringEquals
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = ["arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"]
    }
    condition {
      test     = "ForAllValues:StringEquals"
      variable = "token.actions.githubusercontent.com:aud"
      values   = ["sts.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:sub"
      values   = ["repo:acme/app:ref:refs/heads/main"]
    }
    condition {
      test     = "StringEqualsIfExists"
      variable = "token.actions.githubusercontent.com:job_workflow_ref"
      values   = ["acme/app/.github/workflows/release.yml@refs/heads/main"]
    }
  }
}

resource "aws_iam_role" "release" {
  name               = "release"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}
